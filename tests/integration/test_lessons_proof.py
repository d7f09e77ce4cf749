"""The third lesson: data goes where this node's own challenge came back, and everywhere else is the relay.

Five pairs in one lab: for one of them nothing passes directly from the start, for two only one way
is open, one is cut in the middle, one is left alone. All of them begin to talk at the same moment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from crowd import Crowd, Pair, up
from flows import PING, longest_gap
from harness import wait_for

BLOCKED = ("alice", "bob")
DEAF_ASKER = ("carol", "dave")  # carol hears nothing of dave directly, dave hears carol
DEAF_ASKED = ("erin", "frank")
CUT = ("gina", "hans")
FREE = ("ida", "jack")
PAIRS = (BLOCKED, DEAF_ASKER, DEAF_ASKED, CUT, FREE)
CLIENTS = tuple(client for pair in PAIRS for client in pair)

FIRST = 30  # pings of each pair
OUTAGE = 1.5  # seconds
CUT_FROM, CUT_TO = 20, 80  # pings, ten a second
TCP_RATE = "2M"  # bit/s; so little that a busy machine of two cores answers pings beside it
TCP_BACK = 4  # seconds from the cut until TCP has sent again what was lost, and waited for that in vain


@dataclass(frozen=True)
class Course:
    """The lab, and how many of each pair's first pings were answered."""

    crowd: Crowd
    answered: dict[Pair, int]


@pytest.fixture(scope="module")
def course() -> Iterator[Course]:
    with up("proof", CLIENTS, PAIRS, link="delay: 10ms") as crowd:
        flows = crowd.flows
        for source, target in (BLOCKED, BLOCKED[::-1], DEAF_ASKER[::-1], DEAF_ASKED):
            flows.cut(source, target)
        yield Course(crowd, crowd.pings(PAIRS, FIRST))


def stays_relayed(course: Course, pair: Pair) -> None:
    """Nothing of the pair was lost; once the attempt has failed, both use the relay and say so."""
    assert course.answered[pair] == FIRST, f"{FIRST - course.answered[pair]} of the first pings were lost"
    crowd = course.crowd
    wait_for(lambda: crowd.lab.peer(*pair)["direct_failures"] >= 1, "the attempt to have failed")
    used = crowd.use([pair], count=20)[pair]
    assert used.is_relayed, f"not relayed without loss: {used}"
    for one, other in (pair, pair[::-1]):
        peer = crowd.lab.peer(one, other)
        assert peer["path"] == "relay", peer


def test_a_pair_that_is_cut_from_the_start_is_relayed_and_loses_nothing(course: Course) -> None:
    stays_relayed(course, BLOCKED)


@pytest.mark.parametrize("pair", [DEAF_ASKER, DEAF_ASKED], ids=["the asker is deaf", "the asked is deaf"])
def test_a_path_that_works_one_way_only_is_not_used(course: Course, pair: Pair) -> None:
    stays_relayed(course, pair)


def test_a_pair_that_is_left_alone_is_direct_and_loses_nothing(course: Course) -> None:
    course.crowd.wait_until_direct(FREE)
    used = course.crowd.use([FREE], count=20)[FREE]
    assert used.took_the_direct_way, used
    assert course.answered[FREE] == FIRST
    for one, other in (FREE, FREE[::-1]):
        assert course.crowd.lab.peer(one, other)["path"] == "direct"


def test_a_path_that_is_cut_costs_a_second_and_a_half_and_tcp_goes_on(course: Course) -> None:
    crowd = course.crowd
    asker, asked = CUT
    crowd.wait_until_direct(CUT)
    with crowd.lab.running(asked, "iperf3", "-s", "-1"):
        wait_for(lambda: ":5201" in crowd.lab.run(asked, "ss", "-ltn").stdout, "iperf3 to listen")
        words = ["iperf3", "-c", crowd.address(asked), "-b", TCP_RATE, "-t", "12", "-i", "1", "-J"]
        with crowd.lab.running(asker, *words) as tcp:
            output = ping_through_a_cut(crowd)
            assert longest_gap(output) <= OUTAGE, f"an outage of {longest_gap(output):.2f} s:\n{output}"
            assert output.count("DUP!") == 0, output
            said, _ = tcp.communicate(timeout=60)
    result = json.loads(said)
    carried = [round(each["sum"]["bytes"]) for each in result["intervals"]]
    assert "error" not in result, said
    assert all(carried[CUT_FROM // 10 + TCP_BACK :]), f"TCP stood still; bytes by the second: {carried}"
    crowd.wait_until_direct(CUT)


def ping_through_a_cut(crowd: Crowd) -> str:
    """Ping ten times a second, and cut the direct path and heal it by the way; return what ping says.

    It has a line for each of its packets, answered or not: see -O.
    """
    asker, asked = CUT
    ways = (CUT, CUT[::-1])
    due = {CUT_FROM: crowd.flows.cut, CUT_TO: crowd.flows.mend}
    words = ["ping", "-n", "-D", "-O", "-i", "0.1", "-c", "120", *PING, crowd.address(asked)]
    lines = []
    with crowd.lab.running(asker, *words) as ping:
        assert ping.stdout
        for line in ping.stdout:
            lines.append(line)
            number = re.search(r"icmp_seq=(\d+)", line)
            if number and (change := due.pop(int(number[1]), None)):
                for way in ways:
                    change(*way)
    return "".join(lines)
