"""Segment frames: super-packets between ltk peers, cut but not completed.

A super-packet is cut into datagrams that each carry the segment header, the super-packet's own headers as
they are, and one slice of its payload. Each is sealed on its own: a lost datagram loses only itself, and a
forged one harms nothing. No checksum is computed on the way: the tag is stronger, and the receiving kernel
completes a packet that leaves it.

    segment   12+n   kind 1 (0x10 with the GSO type), flags 1 (1: ECN), burst 2, index 2, size 2,
                     checksum start 2, checksum offset 2, headers, slice

GSO types are those of vnet. With type 0 it is one packet of which only the checksum is not completed. The
burst's number is the same in all segments of one super-packet. All slices but the last have `size` bytes;
how many there are and how long the last is follows from the length that the IP header states, so that
padding may follow it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ltk.protocol.messages import DATA_OVERHEAD, RELAY_HEADER_SIZE, Buffer
from ltk.protocol.vnet import GSO_ECN, GSO_TCP4, GSO_TCP6, GSO_UDP, Geometry, header_length

SEGMENT_SIZE = 12  # bytes of the segment header
SEGMENT_KIND = 0x10
WHOLE = SEGMENT_KIND  # a packet in one piece, its checksum owed
CUT_KINDS = frozenset(SEGMENT_KIND | gso for gso in (GSO_TCP4, GSO_TCP6, GSO_UDP))
MAX_BURST = 1 << 16  # bursts are numbered modulo this
MAX_DATAGRAMS = 64  # in one send; UDP_MAX_SEGMENTS of kernels before 6.0
MAX_BYTES = 65487  # in one send, and so less than one UDP/IPv6 payload, and one UDP/IPv4 one
_HEADERS = 72  # bytes; IPv6 and TCP with timestamps

_ECN = 1
_SEGMENT = struct.Struct("<BBHHHHH")
_WORDS = struct.Struct("<QI")
_INDEX_AT = 4
pack_segment = _SEGMENT.pack
pack_segment_into = _SEGMENT.pack_into
unpack_segment = _SEGMENT.unpack_from  # (kind, flags, burst, index, size, start, offset)

# A burst's headers differ in their index alone. So they are written as what lies before it, it, and what lies
# behind; and compared as two numbers, of which the first grows by ONE_INDEX from one to the next.
pack_index = struct.Struct("<H").pack
unpack_words = _WORDS.unpack_from
ONE_INDEX = 1 << (8 * _INDEX_AT)


class Slice(NamedTuple):
    """One segment as it arrived: what all of its burst share, and which it is."""

    geometry: Geometry
    burst: int
    number: int
    total: int  # bytes of the super-packet's payload

    @property
    def length(self) -> int:
        """How much of the payload the segment carries."""
        return min(self.geometry.size, self.total - self.number * self.geometry.size)


def kind_and_flags(gso: int) -> tuple[int, int]:
    """Return the first two bytes of the segments of a super-packet of this GSO type."""
    return SEGMENT_KIND | (gso & ~GSO_ECN), _ECN if gso & GSO_ECN else 0


def largest_super_packet(mtu: int) -> int:
    """Return up to how many bytes a super-packet has, so that all of its datagrams leave in one send.

    Larger ones would be two sends, two receives and two packets at the other end, the second of each a small
    one: with 64 KiB instead, one TCP stream was a fifth slower.
    """
    datagram = RELAY_HEADER_SIZE + DATA_OVERHEAD + SEGMENT_SIZE + mtu
    return max(1, min(MAX_DATAGRAMS, MAX_BYTES // datagram)) * (mtu - _HEADERS)


def around_index(
    kind: int, flags: int, burst: int, size: int, start: int, offset: int
) -> tuple[bytes, bytes]:
    """Return what lies before the index in the headers of a burst, and what lies behind it."""
    whole = pack_segment(kind, flags, burst, 0, size, start, offset)
    return whole[:_INDEX_AT], whole[_INDEX_AT + 2 :]


def read_slice(payload: memoryview) -> Slice | None:
    """Read a segment of a super-packet; None where it is none, or contradicts itself."""
    if len(payload) < SEGMENT_SIZE + 20:
        return None
    kind, flags, burst, index, size, start, offset = unpack_segment(payload)
    if kind not in CUT_KINDS or not size:
        return None
    gso = kind & 15
    header = header_length(payload, SEGMENT_SIZE, len(payload), gso, start, offset)
    if header is None:
        return None
    if payload[SEGMENT_SIZE] >> 4 == 4:
        stated = payload[SEGMENT_SIZE + 2] << 8 | payload[SEGMENT_SIZE + 3]
    else:
        stated = 40 + (payload[SEGMENT_SIZE + 4] << 8 | payload[SEGMENT_SIZE + 5])
    made = Slice(
        Geometry(gso | (GSO_ECN if flags & _ECN else 0), header, size, start, offset),
        burst,
        index,
        stated - header,
    )
    if not 0 < made.length <= len(payload) - SEGMENT_SIZE - header:
        return None
    return made


def is_segment(payload: Buffer) -> bool:
    """Return whether a payload claims to be a segment."""
    return len(payload) > 0 and payload[0] >> 4 == SEGMENT_KIND >> 4
