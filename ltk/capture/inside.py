"""What is inside of the tunnel's data messages, for who has the keys of their sessions.

A datagram is opened as its receiver would open it, but nothing is checked for being new: a message that is
heard at two devices is opened at both. Of a burst every datagram is opened by itself, and a segment is shown
as the packet that it would be without its super-packet: complete, with its own length and checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ltk.capture.dissect import UDP, Seen
from ltk.capture.keys import Ring
from ltk.capture.words import UDP_HEADER
from ltk.protocol.burst import unwrap
from ltk.protocol.messages import (
    DATA_HEADER_SIZE,
    DATA_OVERHEAD,
    RELAY_HEADER_SIZE,
    FrameKind,
    Kind,
    ip_packet_length,
    kind_of,
    unpack_data_header,
)
from ltk.protocol.primitives import NotAuthenticError, counter_nonce
from ltk.protocol.vnet import HEADROOM, TAILROOM, Packet, complete

_CONTROL = 2  # the upper half of the first byte of a control frame


class Inside(NamedTuple):
    """What one data message held. Neither of the first two: it could not be opened."""

    packet: bytes | None  # an IP packet
    frame: str | None  # the name of something else, for people
    receiver: int
    counter: int

    @property
    def is_sealed(self) -> bool:
        """Whether nobody who was asked has its key."""
        return self.packet is None and self.frame is None


def look_inside(seen: Seen, segment: int, ring: Ring) -> Iterator[Inside]:
    """Yield what each data message of a captured packet holds, but for keepalives, which hold nothing.

    `segment` is the size of each segment's payload where the packet is a super-packet, else 0.
    """
    if seen.protocol != UDP or seen.fragment or len(seen.body) <= UDP_HEADER:
        return
    payload = seen.body[UDP_HEADER:]
    size = segment or len(payload)
    for begin in range(0, len(payload), size):
        datagram = payload[begin : begin + size]
        if kind_of(datagram) is Kind.RELAYED:
            datagram = datagram[RELAY_HEADER_SIZE:]
        if len(datagram) > DATA_OVERHEAD and kind_of(datagram) is Kind.DATA:
            yield from _open(datagram, ring)


def _open(datagram: memoryview, ring: Ring) -> Iterator[Inside]:
    _, receiver, counter = unpack_data_header(datagram)
    size = len(datagram) - DATA_OVERHEAD
    room = Packet(memoryview(bytearray(HEADROOM + size + TAILROOM)), HEADROOM, HEADROOM + size)
    for cipher in ring.ciphers(receiver):
        try:
            cipher.decrypt_into(counter_nonce(counter), datagram[DATA_HEADER_SIZE:], None, room.bare)
        except NotAuthenticError:
            continue  # two sessions may have the same index
        yield Inside(*_read(room), receiver, counter)
        return
    yield Inside(None, None, receiver, counter)


def _read(payload: Packet) -> tuple[bytes | None, str | None]:
    """The packet that an opened payload holds, or else what it is."""
    kind = payload.bare[0]
    if kind >> 4 == _CONTROL:
        known = kind in list(FrameKind)
        return None, f"frame {FrameKind(kind).name}" if known else f"frame {kind:#04x}"
    unwrapped = unwrap(payload, takes_segments=True)
    length = ip_packet_length(unwrapped.bare)
    if length is None:
        return None, f"{len(payload.bare)} bytes of no known kind"
    whole = next(complete(unwrapped._replace(end=unwrapped.start + length)), None)
    return (None, "a segment that contradicts itself") if whole is None else (bytes(whole.bare), None)
