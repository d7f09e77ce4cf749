"""Bursts against a slow twin: whatever is lost, repeated or out of order, the same packets come out.

The twin cuts a super-packet into complete packets, as a kernel without offloads would. What arrives through
segments is completed by the same twin, and has to be the same packets.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol.burst import Cutter, Joiner, unwrap
from ltk.protocol.messages import read_burst
from ltk.protocol.noise import TransportKeys
from ltk.protocol.primitives import NotAuthenticError
from ltk.protocol.session import Session
from ltk.protocol.vnet import (
    GSO_ECN,
    GSO_TCP4,
    GSO_TCP6,
    GSO_UDP,
    HEADROOM,
    NEEDS_CSUM,
    TAILROOM,
    VNET_SIZE,
    Packet,
    complete,
    geometry_of,
    packet_of,
)

CHANNEL = 77


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


def both_sides() -> tuple[Session, Session]:
    one, two = b"1" * 32, b"2" * 32
    left = Session(11, 22, TransportKeys(one, two), initiator=True, created=100.0)
    right = Session(22, 11, TransportKeys(two, one), initiator=False, created=100.0)
    return left, right


class Ends:
    """A sender and a receiver, with the buffers that a node has."""

    def __init__(self) -> None:
        self.left, self.right = both_sides()
        self.cutter, self.joiner = Cutter(), Joiner(takes_segments=True)
        self.buffer = memoryview(bytearray(HEADROOM + 65536 + TAILROOM))
        self.out = memoryview(bytearray(1 << 18))

    def cut(self, framed: bytes, channel: int | None = None) -> list[bytes]:
        end = HEADROOM - VNET_SIZE + len(framed)
        self.buffer[HEADROOM - VNET_SIZE : end] = framed
        packet = Packet(self.buffer, HEADROOM, end)
        made = geometry_of(packet)
        assert made is not None
        front = 0 if channel is None else 8
        assert self.cutter.size_for(packet, made, front) <= len(self.out)
        sealed = self.cutter.seal(self.left, packet, made, channel, self.out)
        assert sealed is not None
        data = bytes(sealed.datagrams)
        found = [data[at : at + sealed.size] for at in range(0, len(data), sealed.size)]
        assert len(found) == sealed.packets
        return found

    def open_together(self, sealed: list[bytes]) -> list[bytes]:
        """Open datagrams as the kernel would join them: of one size, but the last may be shorter."""
        opened: list[bytes] = []
        while sealed:
            size, count = len(sealed[0]), 1
            while count < min(len(sealed), 64) and len(sealed[count]) == size:
                count += 1
            if count < min(len(sealed), 64) and len(sealed[count]) < size:
                count += 1
            data = memoryview(b"".join(sealed[:count]))
            heads = read_burst(data, size)
            assert heads is not None
            packets = self.joiner.open(self.right, data, size, heads.front, heads.counters)
            assert packets is not None
            opened += [bytes(packet.framed) for packet in packets]
            sealed = sealed[count:]
        return opened

    def open_alone(self, sealed: list[bytes]) -> list[bytes]:
        opened = []
        for datagram in sealed:
            room = memoryview(bytearray(HEADROOM + len(datagram) + TAILROOM))
            end = HEADROOM + len(datagram) - 32
            assert self.right.open(datagram, room[HEADROOM:end]) == len(datagram) - 32
            opened.append(bytes(unwrap(Packet(room, HEADROOM, end), takes_segments=True).framed))
        return opened


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


@given(super_packets(), st.sampled_from((None, CHANNEL)))
def test_a_burst_comes_out_as_the_super_packet_that_went_in(framed, channel):
    ends = Ends()
    sealed = ends.cut(framed, channel)
    opened = ends.open_together(sealed)
    assert [packet for each in opened for packet in twin(each)] == twin(framed)
    assert len(opened) <= -(-len(sealed) // 64)
    if len(sealed) <= 64:
        assert opened[0][VNET_SIZE:] == framed[VNET_SIZE:]


def test_views_made_for_one_packet_serve_the_next():
    ends = Ends()
    for length in (50000, 30000, 50000, 14000, 14001, 13999, 60000):
        framed = super_packet(bytes(number % 251 for number in range(length)), 1328, options=12)
        (opened,) = ends.open_together(ends.cut(framed))
        assert opened[VNET_SIZE:] == framed[VNET_SIZE:]


@given(super_packets(), st.sets(st.integers(0, 63)))
def test_what_is_lost_is_all_that_is_missing(framed, lost):
    ends = Ends()
    whole = twin(framed)
    kept = [number for number in range(len(whole)) if number not in lost]
    sealed = ends.cut(framed)
    opened = ends.open_together([sealed[number] for number in kept])
    assert [packet for each in opened for packet in twin(each)] == [whole[number] for number in kept]


@given(st.lists(super_packets(), min_size=2, max_size=3), st.randoms(use_true_random=False))
def test_bursts_that_run_into_each_other_are_told_apart(many, random):
    ends = Ends()
    sealed = [datagram for framed in many for datagram in ends.cut(framed)]
    whole = [packet for framed in many for packet in twin(framed)]
    kept = [number for number in range(len(sealed)) if random.random() < 0.9]
    opened = ends.open_together([sealed[number] for number in kept])
    assert [packet for each in opened for packet in twin(each)] == [whole[number] for number in kept]


@given(super_packets())
def test_each_datagram_alone_is_the_packet_that_it_stands_for(framed):
    ends = Ends()
    opened = ends.open_alone(ends.cut(framed)[::-1])
    assert [packet for each in opened for packet in twin(each)] == twin(framed)[::-1]


def test_a_forged_datagram_is_not_authentic_and_nothing_of_the_burst_is_noted():
    ends = Ends()
    sealed = ends.cut(super_packet(bytes(5000), 1000))
    forged = [*sealed[:2], sealed[2][:-1] + bytes([sealed[2][-1] ^ 1]), *sealed[3:]]
    with pytest.raises(NotAuthenticError):
        ends.open_together(forged)
    assert len(ends.open_together(sealed)) == 1


@given(super_packets())
def test_completed_in_software_it_is_what_the_twin_makes(framed):
    made = [bytes(packet.bare) for packet in complete(packet_of(framed))]
    assert made == twin(framed)
