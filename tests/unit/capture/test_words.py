"""What is said of a packet: its ends, and what it is, ltk's own messages among the rest."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made import ALICE, BOB, ETHERNET, data, echo, ip, relayed, tcp, udp

from ltk.capture.dissect import IPV4, dissect
from ltk.capture.words import phrase
from ltk.protocol.messages import Endpoint
from ltk.protocol.stun import answer, binding_request

INITIATION = b"\x01\0\0\0" + (0x0A0B0C0D).to_bytes(4, "little") + bytes(140)
RESPONSE = b"\x02\0\0\0" + (0x11).to_bytes(4, "little") + (0x0A0B0C0D).to_bytes(4, "little") + bytes(80)
COOKIE = b"\x03\0\0\0" + (0x0A0B0C0D).to_bytes(4, "little") + bytes(56)
QUESTION = binding_request(b"twelve bytes")
ANSWER = answer(memoryview(QUESTION), Endpoint("203.0.113.4", 45181)) or b""


def said(packet: bytes, segment: int = 0) -> str:
    return phrase(dissect(packet, ethernet=False), segment)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (INITIATION, "wireguard initiation from 0x0a0b0c0d"),
        (RESPONSE, "wireguard response from 0x00000011 to 0x0a0b0c0d"),
        (COOKIE, "wireguard cookie reply to 0x0a0b0c0d"),
        (data(0xFF, 12, 0), "wireguard keepalive to 0x000000ff, counter 12"),
        (data(0xFF, 12, 96), "wireguard data, 96 bytes, to 0x000000ff, counter 12"),
        (
            relayed(3, data(0xFF, 1, 96)),
            "relayed by channel 3: wireguard data, 96 bytes, to 0x000000ff, counter 1",
        ),
        (relayed(3, INITIATION), "relayed by channel 3: wireguard initiation from 0x0a0b0c0d"),
        (relayed(3), "relay: channel 3 is refused"),
        (QUESTION, "stun binding request"),
        (ANSWER, "stun binding answer: 203.0.113.4 port 45181"),
        (INITIATION[:-1], "udp, 147 bytes"),
        (relayed(3, relayed(4, INITIATION)), "udp, 164 bytes"),
        (b"", "udp, 0 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_messages_of_the_tunnel_are_told_by_what_they_say_in_clear(payload: bytes, words: str) -> None:
    assert said(udp(payload)) == words


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (echo(8, 5, 3), "icmp echo request, id 5, seq 3"),
        (echo(0, 5, 4), "icmp echo reply, id 5, seq 4"),
        (ip(ALICE, BOB, 1, b"\x03\x03" + bytes(6)), "icmp port unreachable"),
        (ip(ALICE, BOB, 1, b"\x03\x09" + bytes(6)), "icmp unreachable"),
        (ip("fd00::1", "fd00::2", 58, b"\x80\0\0\0\0\x05\0\x03"), "icmp6 echo request, id 5, seq 3"),
        (ip("fd00::1", "fd00::2", 58, b"\x87\0" + bytes(22)), "icmp6 neighbour solicitation"),
        (tcp(b"hello"), "tcp [P.], seq 7, ack 9, 5 bytes"),
        (tcp(b"", 0x02), "tcp [S], seq 7, 0 bytes"),
        (ip(ALICE, BOB, 47, bytes(9)), "protocol 47, 9 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_packets_are_told_by_their_kind(packet: bytes, words: str) -> None:
    assert said(packet) == words


def test_arp_says_who_asks_for_whom() -> None:
    who, tell = bytes((192, 0, 2, 9)), bytes((192, 0, 2, 1))
    head = bytes.fromhex("0001080006040001 020000000001")
    frame = ETHERNET + b"\x08\x06" + head + tell + bytes(6) + who + bytes(18)
    assert phrase(dissect(frame, ethernet=True)) == "arp who has 192.0.2.9? tell 192.0.2.1"
    frame = frame.replace(b"\x06\x04\x00\x01", b"\x06\x04\x00\x02")
    assert phrase(dissect(frame, ethernet=True)) == "arp 192.0.2.1 is at 02:00:00:00:00:01"


def test_a_super_packet_says_how_many_segments_it_is_and_which_counters_they_have() -> None:
    burst = b"".join(data(0xFF, counter, 96) for counter in (12, 13, 14)) + data(0xFF, 15, 32)
    assert said(udp(burst), len(data(0xFF, 0, 96))) == (
        "super-packet of 4 segments: wireguard data, 96 bytes, to 0x000000ff, counters 12 to 15"
    )
    assert said(tcp(bytes(3000)), 1400) == "super-packet of 3 segments: tcp [P.], seq 7, ack 9, 3000 bytes"


def test_ends_have_their_ports_and_ipv6_its_brackets() -> None:
    assert dissect(udp(b""), ethernet=False).ends == ("192.0.2.1:40001", "198.51.100.7:51820")
    assert dissect(udp(b"", "fd00::1", "fd00::2", (1, 2)), ethernet=False).ends == (
        "[fd00::1]:1",
        "[fd00::2]:2",
    )
    assert dissect(echo(), ethernet=False).ends == (ALICE, BOB)


def test_what_ethernet_pads_is_no_part_of_the_packet() -> None:
    seen = dissect(ETHERNET + b"\x08\x00" + udp(b"abc") + bytes(15), ethernet=True)
    assert (seen.ethertype, phrase(seen)) == (IPV4, "udp, 3 bytes")


def test_headers_between_ipv6_and_udp_are_skipped() -> None:
    """RFC 8200, section 4: hop-by-hop options, then a fragment header of a packet that is whole."""
    inner = udp(INITIATION, "fd00::1", "fd00::2")[40:]
    extensions = b"\x2c\x00" + bytes(6) + b"\x11\x00\x00\x00" + bytes(4)
    assert said(ip("fd00::1", "fd00::2", 0, extensions + inner)) == "wireguard initiation from 0x0a0b0c0d"


def test_a_later_fragment_has_no_ports() -> None:
    packet = bytearray(udp(bytes(100)))
    packet[6:8] = (185).to_bytes(2, "big")
    seen = dissect(bytes(packet), ethernet=False)
    assert (seen.ports, phrase(seen)) == (None, "fragment at 1480, 108 bytes")


WHOLE = st.sampled_from(
    [udp(INITIATION), udp(ANSWER), udp(relayed(3, data(1, 2, 64))), tcp(b"x" * 50), echo()]
)


@given(
    st.one_of(
        st.binary(max_size=200), st.builds(lambda packet, end: packet[:end], WHOLE, st.integers(0, 200))
    ),
    st.booleans(),
    st.integers(0, 65535),
)
@example(udp(data(1, 2, 64)), False, 1)
@example(udp(relayed(1, data(1, 2, 64))), False, 17)
def test_no_bytes_of_any_shape_raise_or_write_control_characters(
    packet: bytes, ethernet: bool, segment: int
) -> None:
    for frame in (packet, ETHERNET + b"\x08\x00" + packet, ETHERNET + b"\x86\xdd" + packet):
        seen = dissect(frame, ethernet=ethernet)
        assert " ".join((*seen.ends, phrase(seen, segment))).isprintable()


@given(st.data())
def test_a_whole_packet_with_some_bytes_changed_raises_nothing(draw: st.DataObject) -> None:
    packet = bytearray(draw.draw(WHOLE))
    for at, byte in draw.draw(st.lists(st.tuples(st.integers(0, len(packet) - 1), st.integers(0, 255)))):
        packet[at] = byte
    assert said(bytes(packet), draw.draw(st.integers(0, 2000))).isprintable()
