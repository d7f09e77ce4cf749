"""Which way packets between two clients take, as the network saw it: nobody is asked.

Datagrams of a size that nothing else has go from one client to the other and back. At the devices of both
clients towards the underlay it is seen to whom each has sent, and at the server's whether they came by there.
A client that reaches its server over TCP sends them there in segments.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from ltk.capture.dissect import UDP, dissect
from ltk.capture.record import Tap
from ltk.kernel.packets import Link, Packet
from ltk.lab.sites import UPLINK
from ltk.reconcile.resources import scope_of
from ltk.topology.expanded import Address, Topology
from ltk.topology.values import endpoint_address
from ltk.verify.echo import Echoes, Sending, exchange
from ltk.verify.ends import ends, lab_of

ECHOES = 10
INTERVAL = 0.02  # seconds
PATIENCE = 1.0  # seconds
LARGEST = 1000  # bytes of payload: more than a probe or a handshake has
HEADERS = 80  # bytes that at most are around it inside of the tunnel: IPv6, UDP, padding to 16
ENVELOPE = (
    60,
    140,
)  # bytes that at least and at most are around it outside: those, WireGuard's 32, a channel

UDP_HEADER = 8  # bytes
TCP_DATA_OFFSET = 12  # where in the header its length is told
Place = tuple[Address, int]


class Way(StrEnum):
    """What was seen."""

    DIRECT = "direct"  # from client to client, and nothing at the server
    RELAY = "relay"  # by way of the server, and nothing elsewhere
    BOTH = "both"  # some on each, as while the data goes over from one to the other
    NONE = "none"  # most of it did not come back


@dataclass(frozen=True, slots=True)
class Sighting:
    """The way, and what it follows from: datagrams by where they were seen."""

    way: Way
    echoes: Echoes
    to_peer: int  # sent by the two clients to anybody but the server
    to_server: int
    at_server: int  # that arrived there

    def __str__(self) -> str:
        return (
            f"{self.echoes}; {self.to_peer} went from client to client, {self.to_server} to the server, where"
            f" {self.at_server} arrived"
        )


def watch(topology: Topology, one: str, other: str) -> Sighting:
    """Send between two clients of a topology that is up, and say which way it took.

    Raises LtkError where a place of it is not there.
    """
    size = min(LARGEST, topology.mtu - HEADERS)
    server = topology.server
    near, far = ends(topology, one, other)
    with contextlib.ExitStack() as stack:
        taps = []
        for node in (one, other, server.name):
            taps.append(Tap(scope_of(topology.name, node), node, UPLINK))
            stack.callback(taps[-1].close)
        echoes = exchange(near, far, Sending(ECHOES, size, INTERVAL, PATIENCE))
        sent: Counter[bool] = Counter()
        places = _places_of_the_server(topology)
        for tap in taps[:2]:
            for target, many in _datagrams(_heard(tap), size, outgoing=True):
                sent[target in places] += many
        at_server = sum(many for _, many in _datagrams(_heard(taps[2]), size, outgoing=False))
    return Sighting(
        _way(echoes, sent[False], sent[True], at_server), echoes, sent[False], sent[True], at_server
    )


def _way(echoes: Echoes, to_peer: int, to_server: int, at_server: int) -> Way:
    needed = len(echoes.arrived) + len(echoes.answered)
    if not echoes.reached:
        return Way.NONE
    if to_peer >= needed and to_server == at_server == 0:
        return Way.DIRECT
    if to_peer == 0 and min(to_server, at_server) >= needed:
        return Way.RELAY
    return Way.BOTH


def _places_of_the_server(topology: Topology) -> set[Place]:
    """Where clients may send to when they send to the server."""
    server = topology.server
    found = {(own.ip, server.listen) for own in lab_of(topology).host(server.name).addresses}
    if server.endpoint is not None and (address := endpoint_address(server.endpoint)) is not None:
        found.add((address, int(server.endpoint.rpartition(":")[2])))
    return found


def _heard(tap: Tap) -> Iterator[Packet]:
    """What has passed since the tap was made."""
    assert tap.link is Link.ETHERNET, f"{tap.name} is no cable"
    while (packet := tap.read()) is not None:
        yield packet


def _datagrams(packets: Iterator[Packet], size: int, *, outgoing: bool) -> Iterator[tuple[Place, int]]:
    """Where those of the packets go that bear payloads of `size` bytes, and how many each is."""
    least, most = (size + envelope for envelope in ENVELOPE)
    for packet in packets:
        seen = dissect(packet.data, ethernet=True)
        if packet.outgoing is not outgoing or seen.ports is None:
            continue
        place = ip_address(seen.target), seen.ports[1]
        if seen.protocol == UDP:
            length = len(seen.body) - UDP_HEADER
            many = max(1, length // least)  # a burst is one packet here
            if many * least <= length <= many * most:
                yield place, many
        elif many := _segment_length(seen.body) // least:  # whatever else went with them in one segment
            yield place, many


def _segment_length(segment: memoryview) -> int:
    """The bytes that a TCP segment carries (RFC 9293, section 3.1)."""
    return len(segment) - ((segment[12] >> 4) << 2) if len(segment) > TCP_DATA_OFFSET else 0
