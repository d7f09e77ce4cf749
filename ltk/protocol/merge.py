"""Whole TCP packets of one stream, in order, merged into the super-packet that they could have been cut from.

Stock WireGuard sends packets one by one, each complete. The kernel takes one super-packet for less than it
takes the packets, and acknowledges it once. What is merged is exactly what cutting makes again, as the
kernel's own generic receive offload has it (Linux, Documentation/networking/segmentation-offloads.rst):
headers differ in nothing but what cutting writes, slices have one size but the last, and only the last is
pushed or ends the stream.

A super-packet's checksum is completed by whoever cuts it, so a packet whose own is wrong would be given a
right one. Each is therefore verified here, and one that is wrong goes on as it is, for the kernel to drop.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

from ltk.protocol.vnet import (
    FIN,
    GSO_TCP4,
    GSO_TCP6,
    HEADROOM,
    NEEDS_CSUM,
    PSH,
    TAILROOM,
    TCP,
    TCP_CHECKSUM,
    TCP_HEADER,
    VNET_SIZE,
    Geometry,
    Packet,
    ones_sum,
    pack_vnet_into,
    write_headers,
)

LEAST_SLICE = 64  # bytes of payload; smaller packets are somebody typing, who gains nothing
MOST = 65535  # bytes of an IPv4 packet

_PADDING = 15  # bytes at most behind a packet
_SPACE = TAILROOM + HEADROOM + _PADDING  # between two packets that lie side by side
_ACK, _ECE = 0x10, 0x40
_IPV6_HEADER = 40


def take_merged(waiting: deque[Packet]) -> Packet:
    """Take the first of the packets, and with it as many of those behind it as make one super-packet.

    Packets lie in their buffers in the order in which they wait, and what lies between two that are side by
    side is theirs: it is written over.
    """
    first = waiting.popleft()
    if not waiting or not first.owes_nothing:
        return first
    lengths = _header_lengths(first)
    return first if lengths is None else _merge(first, *lengths, waiting)


def _header_lengths(packet: Packet) -> tuple[int, int] | None:
    """Return where TCP begins and where its payload does; None where nothing can follow the packet."""
    buffer, begin, end = packet
    size = end - begin
    if buffer[begin] >> 4 == 4:
        start = (buffer[begin] & 15) << 2
        # a fragment (RFC 791) is no segment
        if buffer[begin + 9] != TCP or buffer[begin + 6] & 0x3F or buffer[begin + 7]:
            return None
    else:
        start = _IPV6_HEADER
        if size < start or buffer[begin + 6] != TCP:
            return None
    if size < start + TCP_HEADER or buffer[begin + start + 13] & ~_ECE != _ACK:
        return None
    header = start + (buffer[begin + start + 12] >> 4 << 2)
    return (start, header) if header >= start + TCP_HEADER and size - header >= LEAST_SLICE else None


@lru_cache(maxsize=64)
def _common(version: int, start: int, header: int) -> int:
    """The bits of the headers that all packets of a run share, as the number that the headers are."""
    mask = bytearray(b"\xff" * header)
    if version == 4:
        mask[2:6] = b"\0\0\0\0"  # length and identification
        mask[10:12] = b"\0\0"  # checksum
    else:
        mask[4:6] = b"\0\0"  # length
    mask[start + 4 : start + 8] = b"\0\0\0\0"  # sequence number
    mask[start + 13] ^= FIN | PSH
    mask[start + TCP_CHECKSUM : start + TCP_CHECKSUM + 2] = b"\0\0"
    return int.from_bytes(mask, "big")


def _merge(first: Packet, start: int, header: int, waiting: deque[Packet]) -> Packet:
    buffer, begin, end = first
    version = buffer[begin] >> 4
    mask = _common(version, start, header)
    common = int.from_bytes(buffer[begin : begin + header], "big") & mask
    slice_size = end - begin - header
    count, previous, flags = 1, end, 0
    while waiting:
        follower = waiting[0]
        other, at, stop = follower
        size = stop - at - header
        if (
            other is not buffer
            or not 0 <= at - previous <= _SPACE
            or not 0 < size <= slice_size
            or end - begin + size > MOST
            or not follower.owes_nothing
            or int.from_bytes(buffer[at : at + header], "big") & mask != common
            or not _follows(buffer, begin, at, start, count, slice_size)
            or not (count > 1 or _is_right(buffer, begin, start, end))
            or not _is_right(buffer, at, start, stop)
        ):
            break
        waiting.popleft()
        flags = buffer[at + start + 13]
        buffer[end : end + size] = buffer[at + header : stop]
        end += size
        previous = stop
        count += 1
        if size < slice_size or flags & (FIN | PSH):
            break
    if count == 1:
        return first
    made = Geometry(GSO_TCP4 if version == 4 else GSO_TCP6, header, slice_size, start, TCP_CHECKSUM)
    buffer[begin + start + 13] = flags
    write_headers(buffer, begin, made, 0, end - begin - header, is_last=True)
    pack_vnet_into(buffer, begin - VNET_SIZE, NEEDS_CSUM, made.gso, header, slice_size, start, TCP_CHECKSUM)
    return Packet(buffer, begin, end)


def _follows(buffer: memoryview, begin: int, at: int, start: int, count: int, size: int) -> bool:
    """Return whether the packet at `at` is number `count` after that at `begin`, with `size` bytes each."""
    sequence = begin + start + 4
    there = at + start + 4
    expected = int.from_bytes(buffer[sequence : sequence + 4], "big") + count * size
    if int.from_bytes(buffer[there : there + 4], "big") != expected & 0xFFFFFFFF:
        return False
    if buffer[begin] >> 4 == 6:
        return True
    identification = (buffer[begin + 4] << 8 | buffer[begin + 5]) + count
    return (buffer[at + 4] << 8 | buffer[at + 5]) == identification & 0xFFFF


def _is_right(buffer: memoryview, begin: int, start: int, end: int) -> bool:
    """Return whether all checksums of a TCP packet are right: those of IPv4 and of TCP."""
    transport = begin + start
    if buffer[begin] >> 4 == 4:
        if ones_sum(buffer[begin:transport]):
            return False
        addresses = buffer[begin + 12 : begin + 20]
    else:
        addresses = buffer[begin + 8 : begin + 40]
    pseudo = int.from_bytes(addresses, "big") + TCP + end - transport
    return (ones_sum(buffer[transport:end]) + pseudo) % 0xFFFF == 0
