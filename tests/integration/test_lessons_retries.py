"""The fifth lesson: a failed attempt is a state and not an end, and no number of them leaves anything behind.

One lab, in which all that takes long happens side by side: a pair whose direct path is blocked for a minute,
a pair that says nothing for as long, a client that restarts, and pairs that are cut again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from crowd import Crowd, Pair, up
from harness import wait_for

BLOCKED = ("carol", "dave")
BRIEFLY = ("kate", "luke")
RESTARTED = ("erin", "frank")
IDLE = ("gina", "hans")
CYCLED = tuple(("alice", f"bob{number}") for number in range(1, 18))
CYCLES = 3  # of each of the 17 pairs: 51 of the one daemon that they have in common
PAIRS = (BLOCKED, BRIEFLY, RESTARTED, IDLE, *CYCLED)
CLIENTS = ("alice", *(pair[1] for pair in CYCLED), *BLOCKED, *BRIEFLY, *RESTARTED, *IDLE)

BLOCKED_FOR = 60.0  # seconds
BACK_OFF = 66.0  # seconds between attempts at most, jitter included
FIRST_BACK_OFF = 5.5  # seconds after the first failure
ATTEMPT = 5.0  # seconds
HOLD_DOWN = 15.0  # seconds after the third loss in a row
# Attempts begin 0, 9.5, 24 and 48.5 s after the first; each side may make its own, and probes in the other's.
# The routers let through what goes to one candidate: the LAN's own addresses lead nowhere from outside. All
# but the first speak from a fresh socket as well, in case that the mapping of the main one is spoiled.
PROBES_A_MINUTE = 2 * (8 + 3 * (8 + 8))
IDLE_AFTER = 31.0  # seconds since the last data
IDLE_A_MINUTE = 10  # packets of an idle pair, each way
GROWTH = 2_000_000  # bytes of a daemon's memory; fifty sessions with all of their paths would be no more


@dataclass(frozen=True)
class Course:
    """The lab, and when (Unix time) its pairs began to talk, and the idle one fell silent."""

    crowd: Crowd
    began: float
    idle_since: float
    idle_packets: Callable[[], list[str]]


@pytest.fixture(scope="module")
def course() -> Iterator[Course]:
    with up("retries", CLIENTS, PAIRS) as crowd:
        flows = crowd.flows
        for pair in (BLOCKED, BRIEFLY):
            flows.cut(*pair)
            flows.cut(*pair[::-1])
        for one, other in (BLOCKED, BLOCKED[::-1]):
            flows.count_small(f"probes_{one}", one, other)
        a, b = (flows.places.address[each] for each in IDLE)
        began = time.time()
        with crowd.pinging(BLOCKED, BRIEFLY, interval=1.0):
            crowd.wait_until_direct(IDLE)
            with crowd.noting("internet", f"at-{IDLE[0]}", "host", a, "and", "host", b) as packets:
                yield Course(crowd, began, time.time(), packets)


def test_a_pair_that_has_failed_once_is_tried_again_and_direct_once_it_can_be(course: Course) -> None:
    crowd = course.crowd
    wait_for(lambda: crowd.lab.peer(*BRIEFLY)["direct_failures"] >= 1, "the first attempt to have failed")
    assert crowd.use([BRIEFLY])[BRIEFLY].is_relayed
    heal(crowd, BRIEFLY)
    crowd.wait_until_direct(BRIEFLY, deadline=2 * FIRST_BACK_OFF + 2 * ATTEMPT)


def test_a_client_that_restarts_on_another_port_is_direct_again(course: Course) -> None:
    crowd = course.crowd
    crowd.wait_until_direct(RESTARTED)
    before = port_of(crowd, RESTARTED[1])
    crowd.kill(RESTARTED[1])
    crowd.wait_until_direct(RESTARTED, deadline=BACK_OFF + ATTEMPT)
    assert port_of(crowd, RESTARTED[1]) != before, "it was given the same port, which proves nothing"
    assert crowd.pings([RESTARTED], 20)[RESTARTED] == 20


def test_fifty_cycles_of_block_and_open_leave_nothing_behind(course: Course) -> None:
    crowd = course.crowd
    crowd.wait_until_direct(*CYCLED)
    nodes = ("hub", "alice", *(bob for _, bob in CYCLED))
    pids = {node: crowd.lab.daemon_pid(node) for node in nodes}
    before = {node: Held.by(pid) for node, pid in pids.items()}
    for _ in range(CYCLES):
        for pair in CYCLED:
            cut(crowd, pair)
        crowd.wait_until_relayed(("alice", "bob1"))
        wait_for(lambda: none_is_direct(crowd), "no path to be used that was cut")
        for pair in CYCLED:
            heal(crowd, pair)
        crowd.wait_until_direct(*CYCLED, deadline=HOLD_DOWN + BACK_OFF + ATTEMPT)
    after = {node: Held.by(pid) for node, pid in pids.items()}
    for node in nodes:
        assert after[node].descriptors == before[node].descriptors, f"{node}: {before[node]}, {after[node]}"
        assert after[node].threads == before[node].threads, f"{node}: {before[node]}, {after[node]}"
        assert after[node].memory - before[node].memory <= GROWTH, f"{node}: {before[node]}, {after[node]}"


def test_a_path_that_was_blocked_for_a_minute_cost_few_probes_and_is_used_once_it_opens(
    course: Course,
) -> None:
    crowd = course.crowd
    wait_for(lambda: time.time() - course.began >= BLOCKED_FOR, "a minute to be over", BLOCKED_FOR + 10)
    sent = crowd.flows.counted()
    minutes = (time.time() - course.began) / 60
    for one in BLOCKED:
        count = sent[f"probes_{one}"]
        assert 8 <= count <= PROBES_A_MINUTE * max(1.0, minutes), (
            f"{count} probes of {one} in {minutes:.1f} min"
        )
    daemons = [crowd.lab.daemon_pid(each) for each in BLOCKED]
    heal(crowd, BLOCKED)
    crowd.wait_until_direct(BLOCKED, deadline=BACK_OFF + ATTEMPT)
    assert [crowd.lab.daemon_pid(each) for each in BLOCKED] == daemons


def test_an_idle_pair_does_not_echo_packets_for_ever(course: Course) -> None:
    wait_for(lambda: time.time() - course.idle_since >= IDLE_AFTER + 40, "the pair to be idle for long", 90)
    times = [float(line.split()[0]) for line in course.idle_packets()]
    idle = [each for each in times if each >= course.idle_since + IDLE_AFTER]
    minutes = (time.time() - course.idle_since - IDLE_AFTER) / 60
    assert 1 <= len(idle) <= 2 * (IDLE_A_MINUTE * minutes + 1), (
        f"{len(idle)} packets in {minutes:.1f} minutes"
    )
    used = course.crowd.use([IDLE])[IDLE]
    assert used.took_the_direct_way, f"the path did not outlive its idling: {used}"


def cut(crowd: Crowd, pair: Pair) -> None:
    crowd.flows.cut(*pair)
    crowd.flows.cut(*pair[::-1])


def heal(crowd: Crowd, pair: Pair) -> None:
    crowd.flows.mend(*pair)
    crowd.flows.mend(*pair[::-1])


def none_is_direct(crowd: Crowd) -> bool:
    return all(used.there == used.back == 0 for used in crowd.use(CYCLED, patience=2).values())


def port_of(crowd: Crowd, node: str) -> int:
    """The UDP port that a node's daemon is bound to, as the kernel has it."""
    listed = crowd.lab.run(node, "ss", "-Hlnu").stdout.split()
    (port,) = {
        int(word.rpartition(":")[2])
        for word in listed
        if word.startswith(("0.0.0.0:", "*:", "[::]:")) and not word.endswith("*")
    }
    return port


@dataclass(frozen=True)
class Held:
    """What the kernel says that a process holds; memory in bytes."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def by(cls, pid: int) -> Held:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        memory = 1024 * int(fields["VmRSS"].split()[0])
        return cls(len(list(Path(f"/proc/{pid}/fd").iterdir())), int(fields["Threads"]), memory)
