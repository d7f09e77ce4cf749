"""What passes on a cable: every WireGuard message, read from tcpdump's file by its outer form alone.

The layouts are those of the WireGuard paper, section 5.4, written down here once more, since a proof that
shared them with the program could share its mistakes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from place import Place, stop

SNAPSHOT = (
    256  # bytes kept of each packet: every handshake message is whole; short, so that many wait at once
)
BUFFER = 16384  # KiB for packets that tcpdump has not read yet
_FILE_HEADER = 24  # bytes; pcap(5): the file's header, then one before each packet
_PACKET_HEADER = struct.Struct("<IIII")
_ETHERNET = 14  # bytes
_UDP = 8
_MAC2 = slice(132, 148)  # of an initiation


class Kind(IntEnum):
    """The four messages."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE_REPLY = 3
    DATA = 4


SIZES = {Kind.INITIATION: 148, Kind.RESPONSE: 92, Kind.COOKIE_REPLY: 64}  # bytes; data has at least 32


class Message(NamedTuple):
    """One WireGuard message on the wire. `has_mac2`: an initiation that shows a cookie."""

    time: float
    source: str
    port: int
    target: str
    kind: Kind
    size: int
    has_mac2: bool


Tap = Callable[[], list[Message]]


@contextmanager
def tapped(place: Place, device: str, file: Path, expression: str = "udp") -> Iterator[Tap]:
    """Capture on an Ethernet device; the value gives, each time, the messages so far in their order."""
    options = ("--immediate-mode", "-U", "-n", "-s", str(SNAPSHOT), "-B", str(BUFFER))
    words = ("tcpdump", *options, "-i", device, "-w", str(file), *expression.split())
    with place.running(*words) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if "listening on" in line:
                break
        else:
            raise AssertionError(f"tcpdump does not capture:\n{said}")
        yield lambda: list(_messages(file.read_bytes()))
        stop(process)
        rest = process.stdout.read()
        assert "\n0 packets dropped by kernel" in rest, f"the capture is not whole:\n{rest}"


def _messages(capture: bytes) -> Iterator[Message]:
    position = _FILE_HEADER
    while position + _PACKET_HEADER.size <= len(capture):
        seconds, microseconds, stored, _ = _PACKET_HEADER.unpack_from(capture, position)
        start = position + _PACKET_HEADER.size + _ETHERNET
        position += _PACKET_HEADER.size + stored
        if position > len(capture):
            return  # tcpdump is still writing it
        yield _message(seconds + microseconds / 1e6, capture[start:position])


def _message(time: float, packet: bytes) -> Message:
    if packet[0] >> 4 == 4:
        assert not int.from_bytes(packet[6:8], "big") & 0x3FFF, "a fragment: the tunnel's MTU is too large"
        source, target, udp = packet[12:16], packet[16:20], (packet[0] & 15) * 4
    else:
        source, target, udp = packet[8:24], packet[24:40], 40
    port = int.from_bytes(packet[udp : udp + 2], "big")
    length = int.from_bytes(packet[udp + 4 : udp + 6], "big")
    payload = packet[udp + _UDP : udp + length]
    kind = Kind(int.from_bytes(payload[:4], "little"))
    size = length - _UDP
    assert size == SIZES.get(kind, size), f"{kind.name} of {size} bytes"
    has_mac2 = kind is Kind.INITIATION and any(payload[_MAC2])
    return Message(time, str(ip_address(source)), port, str(ip_address(target)), kind, size, has_mac2)
