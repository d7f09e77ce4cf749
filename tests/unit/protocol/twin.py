"""A slow twin of the kernel's offloads: super-packets as it hands them over, and the packets they stand for.

It cuts a super-packet into complete packets, as a kernel without offloads would.
"""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from ltk.protocol.vnet import GSO_ECN, GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CSUM, VNET_SIZE


def ones_sum(data: bytes) -> int:
    """The Internet checksum's sum (RFC 1071), word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(packet: bytes, protocol: int, transport: int) -> bytes:
    """The pseudo-header of RFC 9293 and RFC 8200."""
    length = len(packet) - transport
    if packet[0] >> 4 == 4:
        return packet[12:20] + struct.pack(">BBH", 0, protocol, length)
    return packet[8:40] + struct.pack(">II", length, protocol)


def super_packet(
    payload: bytes,
    size: int,
    *,
    version: int = 4,
    udp: bool = False,
    options: int = 0,
    flags: int = 0x18,
    ecn: bool = False,
    more: int = 0,
) -> bytes:
    """A packet behind its virtio header, as the kernel hands it over: a super-packet if it is long enough."""
    protocol = 17 if udp else 6
    if udp:
        transport = struct.pack(">HHHH", 1234, 5678, 8 + len(payload), 0)
    else:
        offset = (20 + options) // 4 << 4
        transport = struct.pack(">HHIIBBHHH", 1234, 5678, 0xFFFFFC00, 7, offset, flags, 1000, 0, 0)
        transport += bytes(range(options))
    if version == 4:
        length = 20 + more + len(transport) + len(payload)
        head = struct.pack(">BBHHHBBH", 0x45 + more // 4, 0, length, 0xFFF0, 0x4000, 64, protocol, 0)
        head += bytes((10, 0, 0, 2, 10, 0, 0, 3)) + bytes([1]) * more
        head = head[:10] + struct.pack(">H", 0xFFFF - ones_sum(head)) + head[12:]
    else:
        head = struct.pack(">IHBB", 6 << 28, len(transport) + len(payload), protocol, 64)
        head += bytes(range(32))
    packet = head + transport + payload
    start, offset = len(head), 6 if udp else 16
    field = struct.pack(">H", ones_sum(pseudo(packet, protocol, start)))
    packet = packet[: start + offset] + field + packet[start + offset + 2 :]
    gso = GSO_UDP if udp else GSO_TCP4 if version == 4 else GSO_TCP6
    if ecn and not udp:
        gso |= GSO_ECN
    cut = (gso, start + len(transport), size) if len(payload) > size else (0, 0, 0)
    return struct.pack("<BBHHHH", NEEDS_CSUM, *cut, start, offset) + packet


def twin(framed: bytes) -> list[bytes]:
    """The complete packets that a packet stands for, made the slow and obvious way."""
    flags, gso, _, size, start, offset = struct.unpack_from("<BBHHHH", framed)
    packet = framed[VNET_SIZE:]
    if not gso:
        return [completed(packet, start, offset)] if flags & NEEDS_CSUM else [packet]
    udp = gso == GSO_UDP
    header = start + (8 if udp else packet[start + 12] >> 4 << 2)
    head, payload = packet[:header], packet[header:]
    made = []
    for number, begin in enumerate(range(0, len(payload), size)):
        part = bytearray(head + payload[begin : begin + size])
        if udp:
            struct.pack_into(">H", part, start + 4, len(part) - start)
        else:
            (sequence,) = struct.unpack_from(">I", part, start + 4)
            struct.pack_into(">I", part, start + 4, (sequence + begin) & 0xFFFFFFFF)
            if begin + size < len(payload):
                part[start + 13] &= 0xFF ^ 0x09  # FIN and PSH are the last one's
            if number:
                part[start + 13] &= 0x7F  # CWR is the first one's
        if part[0] >> 4 == 4:
            struct.pack_into(">H", part, 2, len(part))
            (identification,) = struct.unpack_from(">H", part, 4)
            struct.pack_into(">H", part, 4, (identification + number) & 0xFFFF)
            struct.pack_into(">H", part, 10, 0)
            struct.pack_into(">H", part, 10, 0xFFFF - ones_sum(bytes(part[:start])))
        else:
            struct.pack_into(">H", part, 4, len(part) - 40)
        struct.pack_into(">H", part, start + offset, ones_sum(pseudo(bytes(part), 17 if udp else 6, start)))
        made.append(completed(bytes(part), start, offset))
    return made


def completed(packet: bytes, start: int, offset: int) -> bytes:
    """The packet with its checksum, of which the field holds the pseudo-header's part."""
    field = start + offset
    total = 0xFFFF - ones_sum(packet[start:])
    return packet[:field] + struct.pack(">H", total or 0xFFFF) + packet[field + 2 :]


@st.composite
def super_packets(draw: st.DrawFn) -> bytes:
    udp = draw(st.booleans())
    version = draw(st.sampled_from((4, 6)))
    size = draw(st.integers(100, 1400))
    length = draw(st.integers(size + 1, min(60000, size * 60)))
    return super_packet(
        draw(st.randoms(use_true_random=False)).randbytes(length),
        size,
        version=version,
        udp=udp,
        options=draw(st.sampled_from((0, 12, 40))),
        flags=draw(st.integers(0, 255)),
        ecn=draw(st.booleans()),
        more=draw(st.sampled_from((0, 8))) if version == 4 else 0,
    )
