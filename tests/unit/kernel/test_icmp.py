"""Echo requests are well formed, and only answers to them count."""

from __future__ import annotations

import socket
import struct
import time
from ipaddress import ip_address

import pytest

from ltk.kernel import icmp
from ltk.kernel.icmp import AT_ONCE, ECHO, MAX_SILENCE, SILENCE, Question, Window

IDENTIFIER = 0x1234


def internet_checksum(data: bytes) -> int:
    """RFC 1071, section 1: the one's complement of the one's complement sum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.parametrize("sequence", [0, 1, 77, 65535, 65536, 1 << 20])
def test_the_checksum_of_a_request_is_right(sequence: int) -> None:
    packet = icmp._request(ip_address("10.0.0.1"), IDENTIFIER, sequence)
    assert internet_checksum(packet) == 0
    kind, code, _, identifier, number, _ = ECHO.unpack(packet)
    assert (kind, code, identifier, number) == (8, 0, IDENTIFIER, sequence & 0xFFFF)


def test_over_ipv6_the_kernel_fills_in_the_checksum() -> None:
    kind, _, checksum, *_ = ECHO.unpack(icmp._request(ip_address("fd00::1"), IDENTIFIER, 1))
    assert (kind, checksum) == (128, 0)


class Received:
    """A socket on which one packet has arrived."""

    def __init__(self, family: socket.AddressFamily, data: bytes, source: str) -> None:
        self.family = family
        self.data = data
        self.source = source

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        return self.data[:size], (self.source, 0)


def read(kind: int, *, identifier: int = IDENTIFIER, options: int = 0, source: str = "10.0.0.1") -> object:
    reply = ECHO.pack(kind, 0, 0, identifier, 1, time.monotonic() - 0.25)
    if ":" in source:
        return icmp._read(Received(socket.AF_INET6, reply, source), IDENTIFIER)  # type: ignore[arg-type]
    header = bytes([0x45 + options]) + bytes(19 + 4 * options)
    return icmp._read(Received(socket.AF_INET, header + reply, source), IDENTIFIER)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [0, 3])
@pytest.mark.parametrize(("kind", "source"), [(0, "10.0.0.1"), (129, "fd00::1"), (129, "fe80::1%eth0")])
def test_an_answer_gives_who_and_how_long(kind: int, source: str, options: int) -> None:
    found = read(kind, source=source, options=options)
    assert isinstance(found, tuple)
    assert found[0] == ip_address(source.partition("%")[0])
    assert 0.25 <= found[1] < 5


@pytest.mark.parametrize("kind", [3, 8, 11, 129])
def test_what_is_no_answer_is_ignored(kind: int) -> None:
    assert read(kind) is None


def test_answers_to_others_are_ignored() -> None:
    assert read(0, identifier=IDENTIFIER + 1) is None


@pytest.mark.parametrize("length", [1, 20, 28, 35])
def test_a_short_packet_is_ignored(length: int) -> None:
    data = (bytes([0x45]) + bytes(60))[:length]
    assert icmp._read(Received(socket.AF_INET, data, "10.0.0.1"), IDENTIFIER) is None  # type: ignore[arg-type]


def questions(count: int) -> list[Question]:
    return [Question("here", ip_address(0x0A000000 + number)) for number in range(count)]


def filled(now: float = 100.0) -> tuple[Window, list[Question]]:
    """A window with as many questions on their way as there may be."""
    window, asked = Window(), questions(AT_ONCE)
    for question in asked:
        assert window.has_room(now)
        window.sent(question, now)
    assert not window.has_room(now)
    return window, asked


def test_an_answer_makes_room_for_one_more_question() -> None:
    window, asked = filled()
    window.answered(asked[7], 0.01, 100.1)
    assert window.has_room(100.1)
    window.sent(questions(AT_ONCE + 1)[-1], 100.1)
    assert not window.has_room(100.1)


def test_those_that_nobody_answers_hold_up_the_others_for_one_silence_only() -> None:
    window, asked = filled()
    window.answered(asked[0], 0.01, 100.4)
    window.sent(questions(AT_ONCE + 1)[-1], 100.4)
    assert not window.has_room(100.4 + 0.9 * SILENCE)
    assert window.full_until == 100.4 + SILENCE
    assert window.has_room(100.4 + SILENCE)


def test_the_slower_the_answers_the_longer_the_silence_up_to_a_limit() -> None:
    window, asked = filled()
    window.answered(asked[0], 0.5, 100.5)
    window.sent(asked[0], 100.5)
    assert not window.has_room(102.4)
    assert window.has_room(102.5)
    window, asked = filled()
    window.answered(asked[0], 30.0, 130.0)
    window.sent(asked[0], 130.0)
    assert not window.has_room(130.0 + 0.9 * MAX_SILENCE)
    assert window.has_room(130.0 + MAX_SILENCE)
