"""Bursts against a slow twin: whatever is lost, repeated or out of order, the same packets come out.

What arrives through segments is completed by the twin (see `twin`), and has to be the same packets.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twin import super_packet, super_packets, twin

from ltk.protocol.burst import Cutter, Joiner, unwrap
from ltk.protocol.messages import read_burst
from ltk.protocol.noise import TransportKeys
from ltk.protocol.primitives import NotAuthenticError
from ltk.protocol.session import Session
from ltk.protocol.vnet import (
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


def test_a_lost_datagram_splits_the_super_packet_and_the_rest_still_owes():
    ends = Ends()
    sealed = ends.cut(super_packet(bytes(number % 251 for number in range(9000)), 1000, options=12))
    opened = ends.open_together(sealed[:3] + sealed[4:])
    assert [len(each) for each in opened] == [VNET_SIZE + 52 + 3000, VNET_SIZE + 52 + 5000]
    assert {each[0] for each in opened} == {NEEDS_CSUM}


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
