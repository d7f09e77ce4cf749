"""A NAT that gives each host so many sessions and no more, as carriers do (RFC 6888, section 3, REQ-4)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from flows import flush_nat
from harness import Lab, wait_for

from ltk.cli.main import run as ltk
from ltk.kernel import netns

CAP, ASKED = 64, 100
CORE = "203.0.113.1", 4000
TOPOLOGY = f"""
name: caps
network: {{subnet: 10.79.0.0/24}}
nodes:
  hub: {{role: server}}
  alice: {{role: wireguard}}
  bob: {{role: wireguard}}
  carol: {{role: wireguard}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: {{preset: home, sessions: {CAP}}}, hosts: [alice, bob, carol]}}
"""  # where nothing runs, every session is the test's own


def sockets(lab: Lab, place: str, count: int, stack: ExitStack) -> list[socket.socket]:
    """UDP sockets inside of a place."""
    with netns.inside(lab.scope(place)):
        made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    return [stack.enter_context(each) for each in made]


@contextmanager
def outside(lab: Lab) -> Iterator[socket.socket]:
    """A socket of the internet's core."""
    with ExitStack() as stack:
        (made,) = sockets(lab, "internet", 1, stack)
        made.bind(CORE)
        made.settimeout(30)
        yield made


def arrived(sent: Sequence[socket.socket], marker: socket.socket, receiver: socket.socket) -> set[int]:
    """Which of these are heard outside; what `marker` sends after them proves that the others are not."""
    for number, each in enumerate(sent):
        each.sendto(b"%d" % number, CORE)
    marker.sendto(b"after", CORE)
    found = set()
    while (said := receiver.recv(100)) != b"after":
        found.add(int(said))
    return found


def test_a_host_gets_as_many_sessions_as_the_file_says_and_others_are_not_concerned(
    lab: Callable[..., Lab],
) -> None:
    made = lab(TOPOLOGY, apply=False)
    assert ltk(["apply", str(made.path)]) == 0  # in one process with what makes the routers, for mutants
    with ExitStack() as stack, outside(made) as receiver:
        alices, (marker,) = sockets(made, "alice", ASKED, stack), sockets(made, "carol", 1, stack)
        before = made.counters("home")["blocked"]
        first = arrived(alices, marker, receiver)
        assert len(first) == CAP
        assert made.counters("home")["blocked"] - before == ASKED - CAP, "the router counts what it refuses"
        assert arrived(alices, marker, receiver) == first, "sessions that there are go on"
        bobs = sockets(made, "bob", CAP, stack)
        assert len(arrived(bobs, marker, receiver)) == CAP, "each host has its own"

        flush_nat(made, "home", new_ports=False)
        fresh = sockets(made, "alice", CAP, stack)
        wait_for(
            lambda: len(arrived(fresh, marker, receiver)) == CAP, "sessions that have ended to make room"
        )
    assert made.plan() == [], "sessions that were counted are taken for drift"
    made.rewrite(made.yaml.replace(f"sessions: {CAP}", f"sessions: {CAP + 1}"))
    assert [(each["action"], each["resource"]) for each in made.plan()] == [("update", "ruleset")]
