"""The layout of the control frames: read back as written, padded or not, and refused when cut short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol.frames import (
    MAX_CANDIDATES,
    Announce,
    AnnounceAck,
    Candidate,
    CandidateKind,
    ChannelOpened,
    Connect,
    Expect,
    Goodbye,
    Introduce,
    Nat,
    NatMapping,
    NotAvailable,
    ObservedAs,
    OpenChannel,
    PortRule,
    Probe,
    ProbeReply,
    Reason,
    pack_frame,
    unpack_frame,
)
from ltk.protocol.messages import Endpoint, FrameKind

V4, V6 = Endpoint("192.0.2.7", 40000), Endpoint("2001:db8::7", 1)
KEY = bytes(range(32))
SEQUENTIAL = Nat(NatMapping.ADDRESS_AND_PORT_DEPENDENT, 15)
CANDIDATES = (Candidate(CandidateKind.HOST, V6), Candidate(CandidateKind.OBSERVED, V4))

FRAMES = [
    (ObservedAs(V4, 3478), 10),
    (ObservedAs(V6, 0), 22),
    (Announce(7, Nat(NatMapping.ENDPOINT_INDEPENDENT), CANDIDATES), 7 + 20 + 8),
    (AnnounceAck(2**32 - 1), 5),
    (Connect(2**64 - 1, KEY), 41),
    (Introduce(1, True, KEY, SEQUENTIAL, CANDIDATES), 44 + 20 + 8),
    (Introduce(1, False, KEY, Nat(), ()), 44),
    (NotAvailable(5, KEY, Reason.ISOLATED), 42),
    (Probe(b"12345678"), 9),
    (ProbeReply(b"12345678", V4), 16),
    (ProbeReply(b"12345678", None), 10),
    (OpenChannel(3, KEY), 37),
    (ChannelOpened(3, KEY, 0xFFFF_FFFF), 41),
    (Expect(PortRule.STEPS, 15, V4), 11),
    (Expect(PortRule.ANY, 0, V6), 23),
    (Goodbye(), 1),
]


@pytest.mark.parametrize(("frame", "size"), FRAMES, ids=lambda value: type(value).__name__)
def test_a_frame_is_read_back_as_it_was_written_with_and_without_padding(frame, size):
    packed = pack_frame(frame)
    assert len(packed) == size
    assert unpack_frame(memoryview(packed)) == frame
    assert unpack_frame(memoryview(packed + bytes(15))) == frame


@pytest.mark.parametrize(("frame", "size"), FRAMES[:-1], ids=lambda value: type(value).__name__)
def test_a_frame_that_is_cut_short_is_none(frame, size):
    packed = pack_frame(frame)
    assert [unpack_frame(memoryview(packed[:end])) for end in range(1, size)] == [None] * (size - 1)


@given(st.sampled_from([kind for kind in FrameKind if kind > FrameKind.HELLO_ACK]), st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise(kind, rest):
    unpack_frame(memoryview(bytes((kind,)) + rest))


def test_candidates_that_nobody_may_announce_are_left_out():
    odd = Candidate(CandidateKind.PEER_REFLEXIVE, V4)
    frame = Announce(1, Nat(NatMapping.NONE), (odd, *CANDIDATES))
    assert unpack_frame(memoryview(pack_frame(frame))) == Announce(1, Nat(NatMapping.NONE), CANDIDATES)


def test_no_more_candidates_are_read_than_are_kept():
    frame = Announce(1, Nat(NatMapping.NONE), CANDIDATES * 10)
    read = unpack_frame(memoryview(pack_frame(frame)))
    assert read is not None
    assert len(read.candidates) == MAX_CANDIDATES


def test_a_mapped_address_is_read_in_dotted_form():
    packed = bytearray(pack_frame(ObservedAs(V6, 0)))
    packed[6:22] = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7))
    read = unpack_frame(memoryview(packed))
    assert read == ObservedAs(Endpoint("192.0.2.7", 1), 0)
