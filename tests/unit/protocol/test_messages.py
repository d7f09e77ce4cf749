"""Layouts byte by byte, and datagrams told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import packet

from ltk.protocol import frames as f
from ltk.protocol import messages as m
from ltk.protocol.messages import Endpoint, FrameKind, Kind


def test_the_initiation_is_laid_out_as_in_the_paper():
    data = m.pack_initiation(m.Initiation(0x04030201, b"e" * 32, b"s" * 48, b"t" * 28))
    assert data == bytes([1, 0, 0, 0, 1, 2, 3, 4]) + b"e" * 32 + b"s" * 48 + b"t" * 28
    assert len(data) + m.MACS_SIZE == m.INITIATION_SIZE == 148
    assert m.unpack_initiation(memoryview(data)) == (0x04030201, b"e" * 32, b"s" * 48, b"t" * 28)


def test_the_response_is_laid_out_as_in_the_paper():
    data = m.pack_response(m.Response(0x04030201, 0x08070605, b"e" * 32, b"x" * 16))
    assert data == bytes([2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]) + b"e" * 32 + b"x" * 16
    assert len(data) + m.MACS_SIZE == m.RESPONSE_SIZE == 92
    assert m.receiver_of_response(memoryview(data)) == 0x08070605
    assert m.sender_of(memoryview(data)) == 0x04030201


def test_the_cookie_reply_is_laid_out_as_in_the_paper():
    data = m.pack_cookie_reply(m.CookieReply(0x04030201, b"n" * 24, b"c" * 32))
    assert data == bytes([3, 0, 0, 0, 1, 2, 3, 4]) + b"n" * 24 + b"c" * 32
    assert len(data) == m.COOKIE_REPLY_SIZE == 64
    assert m.receiver_of_cookie_reply(memoryview(data)) == 0x04030201


def test_the_data_header_is_laid_out_as_in_the_paper():
    data = bytearray(18)
    m.pack_data_header_into(data, 1, Kind.DATA, 0x04030201, 0x0C0B0A0908070605)
    assert data == b"\0" + bytes([4, 0, 0, 0, *range(1, 13)]) + b"\0"


def test_a_hello_is_eight_bytes_and_may_be_padded():
    frame = f.pack_hello(FrameKind.HELLO, f.Hello(1, 0x0000_0102))
    assert frame == bytes([0x20, 1, 0, 0, 2, 1, 0, 0])
    assert f.unpack_hello(memoryview(frame + bytes(8))) == (1, 0x102)
    assert f.unpack_hello(memoryview(frame[:7])) is None


def test_timestamps_are_tai64n_and_order_as_moments_do():
    assert m.pack_timestamp(1_500_000_000) == (2**62 + 11).to_bytes(8, "big") + (500_000_000).to_bytes(
        4, "big"
    )
    moments = [0, 1, 999_999_999, 1_000_000_000, 1_700_000_000 * 10**9]
    assert sorted(map(m.pack_timestamp, reversed(moments))) == [m.pack_timestamp(at) for at in moments]


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("01000000 00000000", Kind.INITIATION),
        ("02000000 00000000", Kind.RESPONSE),
        ("03000000 00000000", Kind.COOKIE_REPLY),
        ("04000000 00000000", Kind.DATA),
        ("80000000 00000000", Kind.RELAYED),
        ("00010000 2112a442", Kind.STUN),
        ("01010000 2112a442", Kind.STUN),
        ("01000000 2112a442", Kind.INITIATION),
        ("05000000 00000000", None),
        ("01000001 00000000", None),
        ("00010000 2112a443", None),
        ("04000000 000000", None),
        ("", None),
    ],
)
def test_datagrams_are_told_apart_by_their_first_eight_bytes(start, kind):
    assert m.kind_of(memoryview(bytes.fromhex(start))) == kind


@given(st.binary(max_size=64))
def test_no_bytes_state_more_than_they_are(data):
    assert (m.kind_of(memoryview(data)) is None) or len(data) >= 8
    length = m.ip_packet_length(memoryview(data))
    assert length is None or 20 <= length <= len(data)


@pytest.mark.parametrize(("source", "destination"), [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_the_stated_length_cuts_padding_off(source, destination):
    inner = packet(source, destination, b"seven!!")
    assert m.ip_packet_length(memoryview(inner + bytes(9))) == len(inner)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:19],
        lambda p: b"\x55" + p[1:],
        lambda p: b"\x44" + p[1:],  # a header shorter than a header
        lambda p: b"\x4f" + p[1:],  # a header longer than the packet
        lambda p: p[:2] + (19).to_bytes(2, "big") + p[4:],
        lambda p: p[:2] + (len(p) + 1).to_bytes(2, "big") + p[4:],
    ],
)
def test_a_malformed_ipv4_packet_has_no_length(change):
    assert m.ip_packet_length(memoryview(change(packet("10.0.0.1", "10.0.0.2", b"data")))) is None


def test_a_malformed_ipv6_packet_has_no_length():
    good = packet("fd00::1", "fd00::2", b"data")
    assert m.ip_packet_length(memoryview(good[:39])) is None
    assert m.ip_packet_length(memoryview(good[:-1])) is None


def test_addresses_are_read_from_both_families():
    four, six = memoryview(packet("10.0.0.1", "10.0.0.2")), memoryview(packet("fd00::1", "fd00::2"))
    assert (m.ip_source(four), m.ip_destination(four)) == (b"\x0a\0\0\1", b"\x0a\0\0\2")
    assert (m.ip_source(six)[-1], m.ip_destination(six)[-1]) == (1, 2)


def test_an_endpoint_packs_to_its_address_and_port():
    assert Endpoint("192.0.2.1", 258).packed() == bytes([192, 0, 2, 1, 1, 2])
    assert Endpoint("fe80::1%eth0", 1).packed() == bytes([0xFE, 0x80, *bytes(13), 1, 0, 1])
