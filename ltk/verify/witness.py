"""Which way packets between two clients take, as the network saw it: nobody is asked.

Datagrams of a size that nothing else has go from one client to the other and back. At the devices of both
clients towards the underlay it is seen to whom each has sent, and at the server's whether they came by there.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from ltk.kernel.sniff import Seen, Sniffer
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

UDP = 17
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
        sniffers = [
            stack.enter_context(Sniffer(scope_of(topology.name, node), UPLINK))
            for node in (one, other, server.name)
        ]
        echoes = exchange(near, far, Sending(ECHOES, size, INTERVAL, PATIENCE))
        sent: Counter[bool] = Counter()
        places = _places_of_the_server(topology)
        for sniffer in sniffers[:2]:
            for target, many in _datagrams(sniffer.take(), size, outgoing=True):
                sent[target in places] += many
        at_server = sum(many for _, many in _datagrams(sniffers[2].take(), size, outgoing=False))
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


def _datagrams(packets: Iterator[Seen], size: int, *, outgoing: bool) -> Iterator[tuple[Place, int]]:
    """Where those of the packets go that bear payloads of `size` bytes, and how many each is."""
    least, most = (size + envelope for envelope in ENVELOPE)
    for packet in packets:
        if packet.outgoing is outgoing and (found := _udp(packet.data)) is not None:
            target, length = found
            many = max(1, length // least)  # a burst is one packet here
            if many * least <= length <= many * most:
                yield target, many


def _udp(packet: bytes) -> tuple[Place, int] | None:
    """Where a UDP packet goes, and the bytes of its payload; None for any other."""
    version = packet[0] >> 4
    if version == 4 and packet[9] == UDP and not int.from_bytes(packet[6:8]) & 0x1FFF:
        header, address = (packet[0] & 15) * 4, packet[16:20]
    elif version == 6 and packet[6] == UDP:
        header, address = 40, packet[24:40]
    else:
        return None
    port = int.from_bytes(packet[header + 2 : header + 4])
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return (ip_address(socket.inet_ntop(family, address)), port), len(packet) - header - 8
