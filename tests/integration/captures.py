"""What tcpdump's files hold, read by this side's own few lines: a proof shares no parser with the program.

The file format is that of pcap-savefile(5), in the byte order of the machine that wrote it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

_FILE_HEADER = struct.Struct("=IHHiIII")
_PACKET_HEADER = struct.Struct("=IIII")
_LINK_HEADER = {1: 14, 101: 0}  # bytes by link type: Ethernet, and bare IP as on a TUN device
_UDP, _ICMP = 17, 1
_ECHO_REQUEST = 8


class Datagram(NamedTuple):
    """One UDP datagram over IPv4."""

    source: str
    port: int
    target: str
    target_port: int
    payload: bytes


class Echo(NamedTuple):
    """An echo request, or the answer to one. `number` is its sequence number."""

    is_request: bool
    source: str
    target: str
    number: int


def packets(capture: bytes) -> Iterator[bytes]:
    """The IP packets of a capture, in their order."""
    link = _FILE_HEADER.unpack_from(capture)[6]
    position = _FILE_HEADER.size
    while position + _PACKET_HEADER.size <= len(capture):
        stored = _PACKET_HEADER.unpack_from(capture, position)[2]
        position += _PACKET_HEADER.size
        yield capture[position + _LINK_HEADER[link] : position + stored]
        position += stored


def datagrams(capture: bytes) -> list[Datagram]:
    """The UDP datagrams of a capture."""
    found = []
    for packet in packets(capture):
        if packet[0] >> 4 == 4 and packet[9] == _UDP:
            start = (packet[0] & 15) * 4
            port, target_port, length = struct.unpack_from("!HHH", packet, start)
            source, target = (str(IPv4Address(packet[at : at + 4])) for at in (12, 16))
            payload = packet[start + 8 : start + length]
            found.append(Datagram(source, port, target, target_port, payload))
    return found


def echoes(capture: bytes) -> list[Echo]:
    """What a capture holds, where that is nothing but echo requests and their answers."""
    found = []
    for packet in packets(capture):
        start = (packet[0] & 15) * 4
        assert packet[0] >> 4 == 4, f"neither asked for nor an answer: {packet.hex()}"
        assert packet[9] == _ICMP, f"neither asked for nor an answer: {packet.hex()}"
        kind, _, _, _, number = struct.unpack_from("!BBHHH", packet, start)
        assert kind in (0, _ECHO_REQUEST), f"neither asked for nor an answer: {packet.hex()}"
        source, target = (str(IPv4Address(packet[at : at + 4])) for at in (12, 16))
        found.append(Echo(kind == _ECHO_REQUEST, source, target, number))
    return found
