"""NATs that choose a port for each destination, and routers that a probe spoils, on real namespaces.

All pairs share one lab and look for their ways at the same time. Which way data takes, and how many probes
were sent for that, is read off counters of the internet between the routers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from crowd import Crowd, Pair, Used, up
from flows import flush_nat
from harness import wait_for

EACH = 4  # pairs of a kind
RANDOM, SEQUENTIAL, HOME = "symmetric", "symmetric-sequential", "port-restricted"
POISONABLE = "{preset: port-restricted, unsolicited: accept}"
KINDS = {  # by the first letter of a pair: the routers of the two sides
    "p": (SEQUENTIAL, HOME),
    "q": (SEQUENTIAL, SEQUENTIAL),
    "b": (RANDOM, HOME),
    "f": (RANDOM, "firewall"),
    "r": (RANDOM, RANDOM),
    "o": (RANDOM, HOME),
}
METHODS = {"p": "port prediction", "q": "port prediction", "b": "birthday", "f": "birthday"}
OFF = "{mode: on-demand, hard-nat: off}"  # on one side of the last kind
WINDOW, PROBES = 64, 1024  # docs/protocol.md: probes of one attempt, beside the plain ones
FOUND = 24  # sockets: 4 of a round are hit on average, if the search goes on to its end; and the main one
PLAIN = 8 * 4  # of one attempt: rounds, and candidates at the most


def pairs_of(kind: str) -> list[Pair]:
    return [(f"{kind}{number}a", f"{kind}{number}b") for number in range(1, EACH + 1)]


SPOILED: Pair = ("early", "late")
PAIRS = [pair for kind in KINDS for pair in pairs_of(kind)]
NATS = {
    node: nat
    for kind, nats in KINDS.items()
    for pair in pairs_of(kind)
    for node, nat in zip(pair, nats, strict=True)
} | dict.fromkeys(SPOILED, POISONABLE)


@dataclass(frozen=True)
class Course:
    """The lab, after all pairs have looked for their ways, and what was seen of each of them.

    `first` are the first pings that were answered of a pair, while it looked; `used` are the ways of later
    ones; `probes` is how many small packets went straight from a node's router to the other's in all.
    """

    crowd: Crowd
    first: dict[Pair, int]
    used: dict[Pair, Used]
    probes: dict[str, int]


FIRST = 60  # pings of each pair


@pytest.fixture(scope="module")
def course() -> Iterator[Course]:
    """All pairs begin to talk at the same moment."""
    wishes = {one: OFF for one, _ in pairs_of("o")}
    with up("hard", [*NATS], [*PAIRS, SPOILED], nats=NATS, p2p=wishes) as crowd:
        for one, other in PAIRS:
            for a, b in ((one, other), (other, one)):
                crowd.flows.count_small(f"probes_{a}", a, b)
        first = crowd.pings(PAIRS, FIRST)
        relayed = [pair for kind in "ro" for pair in pairs_of(kind)]
        with crowd.pinging(*PAIRS):
            crowd.wait_until_direct(*(pair for pair in PAIRS if pair not in relayed))
            wait_for(
                lambda: all(crowd.told_of(*pair)["direct_failures"] >= 2 for pair in relayed),
                "two attempts of the others to have failed",
                60,
            )
        counted = crowd.flows.counted()
        probes = {node: counted[f"probes_{node}"] for pair in PAIRS for node in pair}
        yield Course(crowd, first, crowd.use(PAIRS, count=20), probes)


@pytest.mark.parametrize("kind", METHODS)
def test_a_hard_nat_is_passed_and_the_status_says_how(kind: str, course: Course) -> None:
    for pair in pairs_of(kind):
        used = course.used[pair]
        assert used.took_the_direct_way, f"{pair}, {KINDS[kind]}: {used}"
        assert course.first[pair] == FIRST, (
            f"{pair}: {FIRST - course.first[pair]} of the first pings were lost"
        )
        for one, other in (pair, pair[::-1]):
            told = course.crowd.told_of(one, other)
            assert told["path"] == "direct", told
            # One of 256 ports may happen to be the one that the server sees, to which all probe anyway.
            by_chance = kind in "bf" and told["endpoint"] == course.crowd.told(other)["endpoint_observed"]
            assert METHODS[kind] in told["reason"] or (by_chance and one == pair[1]), told


def test_pairs_that_cannot_or_may_not_are_relayed_without_loss(course: Course) -> None:
    for pair in pairs_of("r") + pairs_of("o"):
        used = course.used[pair]
        assert used.is_relayed, f"{pair}: {used}"
        assert course.first[pair] == FIRST, (
            f"{pair}: {FIRST - course.first[pair]} of the first pings were lost"
        )
        for one, other in (pair, pair[::-1]):
            told = course.crowd.told_of(one, other)
            assert told["path"] == "relay", told
            assert "NAT chooses a port" in told["reason"], told


def test_no_more_is_sent_than_each_method_may(course: Course) -> None:
    crowd = course.crowd
    attempts = {
        node: max(crowd.told_of(one, other)["direct_attempts"], crowd.told_of(other, one)["direct_attempts"])
        for one, other in PAIRS
        for node in (one, other)
    }
    most = dict.fromkeys("pq", WINDOW) | dict.fromkeys("bf", PROBES) | dict.fromkeys("ro", 0)
    seen = {node: count / attempts[node] for node, count in course.probes.items()}
    over = {node: count for node, count in seen.items() if count > most[node[0]] + PLAIN}
    assert over == {}, f"probes in an attempt: {over}"


def test_of_a_round_of_sockets_only_those_stay_open_that_were_found(course: Course) -> None:
    """The main socket has sent a probe like the 256 of a round: once in so many rounds it is that one."""
    listed = {
        one: course.crowd.lab.run(one, "ss", "-Huan").stdout.splitlines()
        for one, _ in pairs_of("b") + pairs_of("f")
    }
    amiss = {one: sockets for one, sockets in listed.items() if not 1 <= len(sockets) <= FOUND}
    assert amiss == {}, f"up to {FOUND} UDP sockets were to be open: {amiss}"
    assert any(len(sockets) > 1 for sockets in listed.values()), f"only main sockets are open: {listed}"


def test_a_mapping_that_a_router_has_spoiled_is_left_for_a_fresh_one(course: Course) -> None:
    """The late one is stopped while the early one's probes arrive at its router, which keeps them."""
    crowd, late = course.crowd, SPOILED[1]
    with crowd.flows.cut_off(SPOILED), crowd.pinging(SPOILED):
        crowd.wait_until_relayed(SPOILED)
        pid = crowd.lab.daemon_pid(late)
        os.kill(pid, signal.SIGSTOP)
        try:
            flush_nat(crowd.lab, f"at-{late}", new_ports=False)
            crowd.flows.heal()
            crowd.flows.count("spoiling", *SPOILED, data_only=False)
            wait_for(
                lambda: crowd.flows.counted()["spoiling"],
                "the early one's probe on its way to the router of the late one, which is stopped",
                60,
            )
        finally:
            os.kill(pid, signal.SIGCONT)
        crowd.wait_until_direct(SPOILED)
    assert any("fresh socket" in crowd.told_of(*pair)["reason"] for pair in (SPOILED, SPOILED[::-1]))
