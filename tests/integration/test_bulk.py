"""Much data through the tunnel, in both directions at once: every byte arrives, and hardly any is sent twice.

LTK_BULK_BYTES is how many bytes each exchange takes, both directions together; a run of the test suite takes
less than a machine that is left alone with ten billion.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest
from detour import detour
from flows import Flows, Places
from harness import Lab, wait_for

from ltk.kernel import netns

_GIVEN = os.environ.get("LTK_BULK_BYTES")
CLEAN = int(_GIVEN or 200_000_000)  # bytes
HARD = int(_GIVEN or 20_000_000)  # bytes, where packets are lost or late
PORTION = 1 << 16  # bytes
PATIENCE = 60.0  # seconds without progress
MORE = 0.001  # of the segments: how many more may be sent again than between the bare hosts

EVERY = 20  # datagrams, of which one is late
LATE = 0.003  # seconds, in which others overtake it

_TCP_INFO = struct.Struct("=100xI52xI")  # linux/tcp.h: tcpi_total_retrans, tcpi_data_segs_out

NODES = {"a": "10.75.0.2", "b": "10.75.0.3", "c": "10.75.0.4", "d": "10.75.0.5", "e": "10.75.0.6"}


def topology() -> str:
    """Pairs of hosts with public addresses; what c sends and is sent is lost now and then."""
    nodes = "".join(f"  {name}: {{address: {address}}}\n" for name, address in NODES.items())
    sites = "".join(
        f"    site-{name}: {{hosts: [{name}]{', link: {delay: 1ms, loss: 1%}' if name == 'c' else ''}}}\n"
        for name in NODES
    )
    return f"""
name: bulk
network: {{subnet: 10.75.0.0/24}}
nodes:
  hub: {{role: server, address: 10.75.0.1}}
{nodes}
lab:
  sites:
    cloud: {{hosts: [hub]}}
{sites}"""


class Sent(NamedTuple):
    """What TCP says of one end of a connection."""

    again: int  # segments
    segments: int  # all with data, those among them


class Exchange:
    """One TCP connection on which both ends send as much as the other, all the time."""

    def __init__(self, lab: Lab, source: str, target: str, address: str, size: int) -> None:
        self._size = size // 2
        with netns.inside(lab.scope(target)):
            server = socket.create_server((address, 0))
        with netns.inside(lab.scope(source)):
            outward = socket.socket()
        with server:
            for each in (server, outward):
                each.settimeout(PATIENCE)
            outward.connect(server.getsockname())
            inward, _ = server.accept()
        inward.settimeout(PATIENCE)
        self._ends = (outward, inward)
        self._executor = ThreadPoolExecutor(4)
        self._sent = [self._executor.submit(self._send, each) for each in self._ends]
        self._received = [self._executor.submit(self._receive, each) for each in self._ends]

    def finish(self) -> Sent:
        """Wait until all has arrived unchanged; return what both ends have sent, taken together."""
        with self._executor, self._ends[0], self._ends[1]:
            sent, received = (_results(each) for each in (self._sent, self._received))
            assert received == sent[::-1], "what has arrived is not what was sent"
            told = [
                _TCP_INFO.unpack(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
                for each in self._ends
            ]
        return Sent(sum(again for again, _ in told), sum(segments for _, segments in told))

    def _send(self, end: socket.socket) -> bytes:
        digest, left = hashlib.sha256(), self._size
        while left:
            portion = os.urandom(min(PORTION, left))
            end.sendall(portion)
            digest.update(portion)
            left -= len(portion)
        return digest.digest()

    def _receive(self, end: socket.socket) -> bytes:
        digest, left = hashlib.sha256(), self._size
        while left:
            portion = end.recv(min(PORTION, left))
            assert portion, f"{left} of {self._size} bytes are missing"
            digest.update(portion)
            left -= len(portion)
        return digest.digest()


def _results(futures: list[Future[bytes]]) -> list[bytes]:
    return [each.result() for each in futures]


@pytest.fixture
def bulk(lab: Callable[..., Lab]) -> Lab:
    """The network, with direct paths between the pairs that exchange something."""
    made = lab(topology())
    pairs = (("a", "b"), ("c", "b"), ("d", "e"))
    for source, target in pairs:
        made.ping(source, NODES[target], count=1)
    for source, target in pairs:
        wait_for(
            lambda one=source, other=target: made.peer(one, other)["path"] == "direct",
            f"a direct path from {source} to {target}",
        )
    return made


def test_bulk_in_both_directions_arrives_whole_and_next_to_nothing_is_sent_again(bulk: Lab) -> None:
    bare = Exchange(bulk, "a", "b", Places.of(bulk).address["b"], CLEAN).finish()
    flows = Flows(bulk)
    flows.count("there", "a", "b")
    flows.count("back", "b", "a")
    tunnelled = Exchange(bulk, "a", "b", NODES["b"], CLEAN).finish()
    print(f"sent again: {bare} between bare hosts, {tunnelled} through the tunnel")
    # a burst counts as one packet
    assert all(count > CLEAN / 2 / 65536 for count in flows.counted().values()), flows.counted()
    assert tunnelled.again / tunnelled.segments <= bare.again / bare.segments + MORE, (bare, tunnelled)


def test_bulk_arrives_whole_through_loss_and_through_reordering(bulk: Lab) -> None:
    """Both at once, on different pairs."""
    address = Places.of(bulk).address
    count = itertools.count(1)

    def now_and_then(_packet: bytes) -> float | None:
        return LATE if next(count) % EVERY == 0 else None

    with detour(bulk, address["d"], [address["e"]], now_and_then, cable="site-d") as held:
        lossy = Exchange(bulk, "c", "b", NODES["b"], HARD)
        reordered = Exchange(bulk, "d", "e", NODES["e"], HARD)
        told = {"lossy": lossy.finish(), "reordered": reordered.finish()}
    print(f"sent again: {told}; {held.total()} datagrams were late")
    assert held.total() >= HARD / 2 / 1400 / EVERY, "nothing was overtaken"
    assert told["lossy"].again >= told["lossy"].segments / 200, "nothing was lost"
