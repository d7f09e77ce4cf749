"""Merging against the slow twin: what comes out is cut again into exactly the packets that went in."""

from __future__ import annotations

import random
import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twin import completed, ones_sum, pseudo, super_packet, super_packets, twin

from ltk.protocol.merge import MOST, take_merged
from ltk.protocol.messages import ip_packet_length
from ltk.protocol.vnet import HEADROOM, NEEDS_CSUM, TAILROOM, VNET_SIZE, Packet

ACK, PSH, FIN, ECE = 0x10, 0x08, 0x01, 0x40


def side_by_side(packets: list[bytes], padding: int = 0) -> deque[Packet]:
    """Packets in one buffer, in order, as opening puts them there."""
    gap = HEADROOM + TAILROOM + padding
    buffer = memoryview(bytearray(sum(len(packet) + gap for packet in packets)))
    waiting, at = deque(), 0
    for packet in packets:
        begin = at + HEADROOM
        end = begin + len(packet)
        buffer[begin:end] = packet
        buffer[end : end + padding] = b"\xaa" * padding
        at += len(packet) + gap
        waiting.append(Packet(buffer, begin, end))
    return waiting


def merged(packets: list[bytes], padding: int = 0) -> list[bytes]:
    """All that comes out, each behind its virtio header."""
    waiting, found = side_by_side(packets, padding), []
    while waiting:
        found.append(bytes(take_merged(waiting).framed))
    return found


def cut_again(found: list[bytes]) -> list[bytes]:
    return [packet for framed in found for packet in twin(framed)]


def stream(length: int, size: int = 1000, *, flags: int = ACK, version: int = 4, options: int = 12) -> bytes:
    payload = bytes(number % 251 for number in range(length))
    return super_packet(payload, size, flags=flags, version=version, options=options)


def changed(packet: bytes, at: int, value: int) -> bytes:
    """The packet with another byte at one place, all checksums made right again."""
    made = bytearray(packet)
    made[at] = value
    start = 20 if made[0] >> 4 == 4 else 40
    if start == 20:
        made[10:12] = b"\0\0"
        made[10:12] = struct.pack(">H", 0xFFFF - ones_sum(bytes(made[:20])))
    made[start + 16 : start + 18] = struct.pack(">H", ones_sum(pseudo(bytes(made), 6, start)))
    return completed(bytes(made), start, 16)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    size = draw(st.integers(1, 1400))
    length = draw(st.integers(1, min(size * 50, 40000)))
    return super_packet(
        random.Random(draw(st.integers(0, 1 << 32))).randbytes(length),
        size,
        version=draw(st.sampled_from((4, 6))),
        options=draw(st.sampled_from((0, 12, 40))),
        flags=draw(st.sampled_from((ACK, ACK | PSH, ACK | FIN, ACK | ECE, ACK | PSH | ECE))),
    )


@given(
    st.lists(st.one_of(streams(), super_packets()), min_size=1, max_size=4),
    st.integers(0, 1 << 32),
    st.sampled_from((0, 0, 0.1)),
    st.sampled_from((0, 0.05)),
    st.integers(0, 15),
)
def test_what_is_merged_is_cut_into_the_same_packets_again(many, seed, lost, damaged, padding):
    """Whatever is missing, damaged (then its checksum is wrong) or of another stream in between."""
    chance = random.Random(seed)
    packets = []
    for packet in (packet for framed in many for packet in twin(framed) if chance.random() >= lost):
        made = bytearray(packet)
        if chance.random() < damaged:
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        if ip_packet_length(memoryview(made)) == len(made):  # others come no further than routing
            packets.append(bytes(made))
    assert cut_again(merged(packets, padding)) == packets


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", [ACK, ACK | PSH, ACK | FIN | PSH, ACK | ECE], ids=hex)
def test_a_stream_in_order_becomes_the_super_packet_that_it_was_cut_from(version: int, flags: int) -> None:
    framed = stream(20500, version=version, flags=flags)
    assert merged(twin(framed)) == [framed]


def test_no_super_packet_is_longer_than_a_packet_can_be() -> None:
    first = twin(stream(2000))[0]
    packets = []
    for number in range(80):
        packet = bytearray(first)
        packet[4:6] = struct.pack(">H", 1000 + number)
        packet[24:28] = struct.pack(">I", 1000 * number)
        packets.append(changed(bytes(packet), 8, 64))
    found = merged(packets)
    assert len(found) == 2
    assert all(len(framed) - VNET_SIZE <= MOST for framed in found)
    assert cut_again(found) == packets


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (1, 2),
        (8, 63),
        (6, 0),
        (12, 11),
        (21, 9),
        (28, 1),
        (32, 0x81),
        (33, ACK | 4),
        (34, 9),
        (39, 9),
        (45, 9),
    ],
    ids=[
        "TOS",
        "TTL",
        "DF",
        "source",
        "port",
        "acknowledgement",
        "reserved",
        "RST",
        "window",
        "urgent",
        "timestamps",
    ],
)
def test_what_differs_in_more_than_cutting_makes_is_left_alone(at: int, value: int) -> None:
    packets = twin(stream(5000))
    packets[2] = changed(packets[2], at, value)
    found = merged(packets)
    assert packets[2] in [framed[VNET_SIZE:] for framed in found]
    assert cut_again(found) == packets


@pytest.mark.parametrize("damaged", [0, 1, 4])
@pytest.mark.parametrize("at", [11, 37, 500], ids=["IP checksum", "TCP checksum", "payload"])
def test_a_packet_whose_checksum_is_wrong_is_never_given_a_right_one(damaged: int, at: int) -> None:
    packets = twin(stream(5000))
    wrong = packets[damaged]
    packets[damaged] = wrong = wrong[:at] + bytes([wrong[at] ^ 0x40]) + wrong[at + 1 :]
    found = merged(packets)
    assert bytes(VNET_SIZE) + wrong in found
    assert cut_again(found) == packets


def test_two_errors_that_cancel_out_are_two_errors() -> None:
    packets = [bytearray(packet) for packet in twin(stream(5000))]
    packets[1][100] += 1
    packets[2][100] -= 1
    assert cut_again(merged([bytes(packet) for packet in packets])) == packets


def test_packets_that_owe_something_and_packets_of_other_buffers_are_not_merged() -> None:
    waiting = side_by_side(twin(stream(2000)))
    waiting[1].buffer[waiting[1].start - VNET_SIZE] = NEEDS_CSUM
    assert len(take_merged(waiting).bare) == 1052
    waiting = side_by_side(twin(stream(2000)))
    waiting[1] = side_by_side(twin(stream(2000)))[1]
    assert len(take_merged(waiting).bare) == 1052
    waiting = side_by_side(twin(stream(3000)))
    del waiting[1]  # something else lies between them
    assert len(take_merged(waiting).bare) == 1052
