"""A NAT with few ports, which gives one to a second socket: it leads to who has got it last."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from harness import Lab
from test_session_caps import sockets

from ltk.cli.main import run as ltk

CORE, FIRST_PORT = "203.0.113.1", 4000
ASKED = 150  # sockets; of 512 ports, 150 at random are all different once in ten thousand million times
TOPOLOGY = """
name: ports
network: {subnet: 10.79.0.0/24}
nodes:
  hub: {role: server}
  alice: {role: wireguard}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: {ports: block-512, filtering: endpoint-independent}, hosts: [alice]}
"""


def test_a_port_that_a_second_socket_gets_leads_to_that_one(lab: Callable[..., Lab]) -> None:
    """Each socket sends to another port of the internet's core, so that a public port may be given again."""
    made = lab(TOPOLOGY, apply=False)
    assert ltk(["apply", str(made.path)]) == 0  # in one process with what makes the routers, for mutants
    with ExitStack() as stack:
        insiders = sockets(made, "alice", ASKED, stack)
        outsiders = sockets(made, "internet", ASKED + 1, stack)
        *asked, stranger = outsiders
        latest: dict[tuple[str, int], socket.socket] = {}
        given_again = set()
        for number, (inside, outside) in enumerate(zip(insiders, asked, strict=True), FIRST_PORT):
            outside.bind((CORE, number))
            outside.settimeout(30)
            inside.sendto(b"out", (CORE, number))
            seen_as = outside.recvfrom(100)[1]
            if seen_as in latest:
                given_again.add(seen_as)
            latest[seen_as] = inside
        assert given_again, "no port was given twice, which proves nothing"
        stranger.bind((CORE, FIRST_PORT - 1))
        for seen_as in sorted(given_again):
            stranger.sendto(b"%d" % seen_as[1], seen_as)
            reached = heard(insiders)
            assert reached is latest[seen_as], f"port {seen_as[1]} leads to who had it before"
            assert reached.recv(100) == b"%d" % seen_as[1]


def heard(insiders: Sequence[socket.socket]) -> socket.socket:
    """The socket at which something has arrived."""
    ready, _, _ = select.select(insiders, [], [], 30)
    assert len(ready) == 1, f"{len(ready)} sockets have heard it"
    found: socket.socket = ready[0]
    return found
