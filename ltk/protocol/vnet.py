"""Packets as the kernel hands them over with its offloads on: a virtio header says what they still owe.

    virtio header  10   flags 1, GSO type 1, header length 2, segment size 2, checksum start 2,
                        checksum offset 2

(Virtual I/O Device 1.2, section 5.1.6; linux/virtio_net.h; native byte order, which is little-endian on all
machines that this runs on.) A **super-packet** has a GSO type: it is up to 64 KiB of one TCP stream, or of
equal UDP datagrams, behind one set of headers, and is to be cut into segments. With NEEDS_CSUM the checksum
field holds the sum of the pseudo-header, and the rest is to be added by whoever needs it complete.

What is owed is paid here, in software, for those who take no super-packets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

VNET_SIZE = 10  # bytes, as the other sizes
HEADROOM = 32  # free before the first byte of a packet, the virtio header among them
TAILROOM = 16  # free behind its last

NEEDS_CSUM = 1
GSO_NONE = 0
GSO_TCP4 = 1
GSO_TCP6 = 4
GSO_UDP = 5
GSO_ECN = 0x80  # beside a TCP type: the first segment bears CWR

TCP_CHECKSUM = 16  # where a transport header has its checksum
UDP_CHECKSUM = 6
UDP_HEADER = 8
TCP_HEADER = 20  # without options
TCP, UDP = 6, 17  # RFC 9293, RFC 768

_VNET = struct.Struct("<BBHHHH")
pack_vnet_into = _VNET.pack_into  # (buffer, offset, flags, GSO type, header, size, start, offset)
unpack_vnet = _VNET.unpack_from

_HALVES = tuple((bits, (1 << bits) - 1) for bits in (5632, 2816, 1408))  # multiples of 16; of 1408 bytes
FIN, PSH, CWR = 0x01, 0x08, 0x80  # of TCP's flags


class Packet(NamedTuple):
    """The IP packet `buffer[start:end]`; its virtio header lies right before it.

    HEADROOM bytes before `start` and TAILROOM bytes from `end` on belong to the packet, to be written over.
    """

    buffer: memoryview
    start: int
    end: int

    @property
    def bare(self) -> memoryview:
        """The packet alone."""
        return self.buffer[self.start : self.end]

    @property
    def framed(self) -> memoryview:
        """The packet behind its virtio header."""
        return self.buffer[self.start - VNET_SIZE : self.end]

    @property
    def owes_nothing(self) -> bool:
        """Whether the packet is complete as it is."""
        return not self.buffer[self.start - VNET_SIZE] and not self.buffer[self.start - VNET_SIZE + 1]


def packet_of(framed: bytes | memoryview) -> Packet:
    """Return a packet of its own from one that lies behind its virtio header."""
    end = HEADROOM - VNET_SIZE + len(framed)
    buffer = memoryview(bytearray(end + TAILROOM))
    buffer[HEADROOM - VNET_SIZE : end] = framed
    return Packet(buffer, HEADROOM, end)


class Geometry(NamedTuple):
    """How a super-packet is made: its headers' length, where transport begins, and the size of its slices."""

    gso: int
    header: int
    size: int
    start: int
    offset: int


def geometry_of(packet: Packet) -> Geometry | None:
    """Read how a super-packet is to be cut; None where the headers contradict themselves.

    The kernel's own length of the headers is not used: it may cover more than them (linux/virtio_net.h).
    """
    buffer, begin, end = packet
    _, gso, _, size, start, offset = unpack_vnet(buffer, begin - VNET_SIZE)
    header = header_length(buffer, begin, end, gso & ~GSO_ECN, start, offset)
    return None if header is None or not size else Geometry(gso, header, size, start, offset)


def header_length(buffer: memoryview, begin: int, end: int, gso: int, start: int, offset: int) -> int | None:
    """Return the length of all headers of a super-packet; None where that cannot be."""
    transport = begin + start
    if start < 20 or transport + UDP_HEADER >= end:
        return None
    version = buffer[begin] >> 4
    if version == 4:
        if start != (buffer[begin] & 15) << 2 or gso == GSO_TCP6:
            return None
    elif version != 6 or start < 40 or gso == GSO_TCP4:
        return None
    if gso == GSO_UDP:
        return start + UDP_HEADER if offset == UDP_CHECKSUM else None
    if offset != TCP_CHECKSUM or transport + TCP_HEADER >= end:
        return None
    header = (buffer[transport + 12] >> 4) << 2
    return start + header if header >= TCP_HEADER and transport + header < end else None


def complete(packet: Packet) -> Iterator[Packet]:
    """Yield the whole packets that a packet stands for, one after the other; nothing where it is malformed.

    A super-packet is cut from its front: each segment's headers are written over the bytes before its
    slice, which the caller is done with by then.
    """
    buffer, begin, end = packet
    flags, gso, _, _, start, offset = unpack_vnet(buffer, begin - VNET_SIZE)
    if gso == GSO_NONE:
        if not flags & NEEDS_CSUM:
            yield packet
        elif start + offset + 2 <= end - begin:
            _complete_checksum(buffer, begin, start, offset, end)
            pack_vnet_into(buffer, begin - VNET_SIZE, 0, 0, 0, 0, 0, 0)
            yield packet
        return
    made = geometry_of(packet)
    if made is None:
        return
    headers = bytes(buffer[begin : begin + made.header])
    payload = end - begin - made.header
    for index in range(-(-payload // made.size)):
        here = begin + index * made.size
        size = min(made.size, payload - index * made.size)
        last = here + made.header + size
        after = bytes(buffer[last : last + TAILROOM])  # the next slice's first bytes, and this one's room
        buffer[here - VNET_SIZE : here] = bytes(VNET_SIZE)
        buffer[here : here + made.header] = headers
        write_headers(buffer, here, made, index, size, is_last=last == end)
        _complete_checksum(buffer, here, made.start, made.offset, last)
        yield Packet(buffer, here, last)
        buffer[last : last + TAILROOM] = after


def write_headers(
    buffer: memoryview, begin: int, made: Geometry, index: int, payload: int, *, is_last: bool
) -> None:
    """Turn the headers of a super-packet into those of its part that begins with slice `index`.

    `payload` is the part's size; `is_last` says whether it reaches the super-packet's end. The checksum is
    that of the pseudo-header, to be completed.
    """
    transport = begin + made.start
    length = made.header + payload
    if made.gso & ~GSO_ECN == GSO_UDP:
        protocol = UDP
        buffer[transport + 4 : transport + 6] = (UDP_HEADER + payload).to_bytes(2, "big")
    else:
        protocol = TCP
        sequence = int.from_bytes(buffer[transport + 4 : transport + 8], "big") + index * made.size
        buffer[transport + 4 : transport + 8] = (sequence & 0xFFFFFFFF).to_bytes(4, "big")
        if not is_last:
            buffer[transport + 13] &= ~(FIN | PSH) & 0xFF
        if index:
            buffer[transport + 13] &= ~CWR & 0xFF
    if buffer[begin] >> 4 == 4:
        identification = int.from_bytes(buffer[begin + 4 : begin + 6], "big") + index
        buffer[begin + 2 : begin + 4] = length.to_bytes(2, "big")
        buffer[begin + 4 : begin + 6] = (identification & 0xFFFF).to_bytes(2, "big")
        buffer[begin + 10 : begin + 12] = b"\0\0"
        buffer[begin + 10 : begin + 12] = checksum(buffer[begin:transport])
        addresses = buffer[begin + 12 : begin + 20]
    else:
        buffer[begin + 4 : begin + 6] = (length - 40).to_bytes(2, "big")
        addresses = buffer[begin + 8 : begin + 40]
    # RFC 9293, section 3.1, and RFC 8200, section 8.1: addresses, protocol and length
    pseudo = (int.from_bytes(addresses, "big") + protocol + length - made.start) % 0xFFFF
    field = transport + made.offset
    buffer[field : field + 2] = pseudo.to_bytes(2, "big")


def ones_sum(covered: memoryview) -> int:
    """Return the sum of the 16-bit words, the last one padded (RFC 1071), modulo 65535: 0 for 65535.

    Halving the number, which keeps its remainder, costs less than dividing all of it: over 1360 bytes in all
    1.2 times what it takes to read them as a number, instead of 1.6 times.
    """
    number = int.from_bytes(covered, "big")
    if len(covered) & 1:
        number <<= 8
    for bits, mask in _HALVES:
        number = (number >> bits) + (number & mask)
    return number % 0xFFFF


def checksum(covered: memoryview) -> bytes:
    """Return the Internet checksum (RFC 1071): as one's complement arithmetic is that modulo 65535."""
    return (0xFFFF - ones_sum(covered)).to_bytes(2, "big")


def _complete_checksum(buffer: memoryview, begin: int, start: int, offset: int, end: int) -> None:
    """Add what the pseudo-header's sum in the field does not cover. A result of zero is sent as all ones,
    which UDP demands and the others take for the same."""
    field = begin + start + offset
    buffer[field : field + 2] = checksum(buffer[begin + start : end])
