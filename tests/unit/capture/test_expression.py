"""A filter lets through what it names, and a wrong one says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import ETHERNET, echo, tcp, udp

from ltk.capture.dissect import dissect
from ltk.capture.expression import parse
from ltk.errors import InvalidInputError

PACKETS = {
    "udp": dissect(udp(b""), ethernet=False),
    "udp6": dissect(udp(b"", "fd00::1", "fd00::2", (53, 9)), ethernet=False),
    "tcp": dissect(tcp(b""), ethernet=False),
    "icmp": dissect(echo(), ethernet=False),
    "arp": dissect(ETHERNET + b"\x08\x06" + bytes(28), ethernet=True),
}


@pytest.mark.parametrize(
    ("text", "through"),
    [
        ("udp", {"udp", "udp6"}),
        ("not udp", {"tcp", "icmp", "arp"}),
        ("udp and ip6", {"udp6"}),
        ("arp or icmp", {"arp", "icmp"}),
        ("host 192.0.2.1", {"udp", "tcp", "icmp"}),
        ("host FD00:0::2", {"udp6"}),
        ("port 51820", {"udp"}),
        ("port 53 or port 80", {"udp6", "tcp"}),
        ("udp and not port 53", {"udp"}),
        ("not (udp or tcp) and ip", {"icmp"}),
        ("icmp or udp and ip6", {"icmp", "udp6"}),
        ("out", set()),
        ("in and not ip", {"udp6", "arp"}),
        ("not not tcp", {"tcp"}),
    ],
)
def test_what_is_named_passes(text: str, through: set[str]) -> None:
    wanted = parse(text)
    assert {name for name, seen in PACKETS.items() if wanted(seen, False)} == through


def test_the_way_of_a_packet_is_told_from_the_other() -> None:
    assert parse("out")(PACKETS["udp"], True)
    assert not parse("in")(PACKETS["udp"], True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a test is missing at its end"),
        ("upd", "'upd' is no test"),
        ("udp tcp", "'tcp' is not expected there"),
        ("udp and", "a test is missing at its end"),
        ("(udp", "a parenthesis is not closed"),
        ("udp)", "')' is not expected there"),
        ("host", "an address behind host is missing"),
        ("host alice", "'alice' is no IP address"),
        ("port 65536", "'65536' is no port"),
        ("port " + "9" * 5000, "is no port"),
        ("(" * 5000, "nested too deeply"),
        ("not " * 5000, "nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_wrong_is_named_with_what_there_is(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(text)
    assert problem in str(caught.value)
    assert caught.value.hint is not None
    assert "host ADDRESS" in caught.value.hint


WORDS = ["udp", "tcp", "in", "and", "or", "not", "(", ")", "host", "192.0.2.1", "port", "53", "?"]


@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_any_words_are_a_filter_or_an_error(words: list[str]) -> None:
    try:
        wanted = parse(" ".join(words))
    except InvalidInputError:
        return
    assert wanted(PACKETS["udp"], True) in (True, False)


def test_a_long_filter_needs_no_deep_stack() -> None:
    assert parse(" or ".join(["tcp"] * 20_000 + ["udp"]))(PACKETS["udp"], False)
