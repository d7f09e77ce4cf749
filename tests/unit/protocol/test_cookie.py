"""Macs, cookies and rates, each alone; the engine's use of them is tested with the engine."""

from __future__ import annotations

import random

import pytest

from ltk.protocol import cookie
from ltk.protocol.cookie import LoadGauge, MacChecker, MacWriter, SourceLimiter, TokenBucket
from ltk.protocol.messages import Endpoint, unpack_cookie_reply

PUBLIC = b"p" * 32
HERE, ELSEWHERE = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.1", 1001)
MESSAGE = b"\1\0\0\0\x2a\0\0\0" + bytes(108)


@pytest.fixture
def checker() -> MacChecker:
    return MacChecker(PUBLIC, random.Random(1).randbytes, 0.0)


@pytest.fixture
def writer() -> MacWriter:
    return MacWriter(PUBLIC)


def give_cookie(checker: MacChecker, writer: MacWriter, source: Endpoint, now: float) -> None:
    stamped = memoryview(writer.write(MESSAGE, now))
    reply = checker.cookie_reply(stamped, source, now)
    assert writer.read_reply(unpack_cookie_reply(memoryview(reply)), now)


def test_mac1_holds_for_whoever_knows_the_public_key(checker, writer):
    stamped = bytearray(writer.write(MESSAGE, 0.0))
    assert checker.mac1_is_valid(memoryview(stamped))
    assert not checker.mac1_is_valid(memoryview(MacWriter(b"q" * 32).write(MESSAGE, 0.0)))
    for position in (0, 50, len(MESSAGE), len(MESSAGE) + 15):
        changed = bytearray(stamped)
        changed[position] ^= 1
        assert not checker.mac1_is_valid(memoryview(changed))


def test_without_a_cookie_mac2_is_zero_and_not_valid(checker, writer):
    stamped = writer.write(MESSAGE, 0.0)
    assert stamped[-16:] == bytes(16)
    assert not checker.mac2_is_valid(memoryview(stamped), HERE, 0.0)


def test_a_cookie_is_good_for_the_address_and_port_that_it_was_sent_to(checker, writer):
    give_cookie(checker, writer, HERE, 1.0)
    stamped = memoryview(writer.write(MESSAGE, 2.0))
    assert checker.mac2_is_valid(stamped, HERE, 2.0)
    assert not checker.mac2_is_valid(stamped, ELSEWHERE, 2.0)


def test_the_secret_changes_every_two_minutes(checker, writer):
    give_cookie(checker, writer, HERE, 119.0)
    stamped = memoryview(writer.write(MESSAGE, 119.5))
    assert checker.mac2_is_valid(stamped, HERE, 119.999)
    assert not checker.mac2_is_valid(stamped, HERE, 120.0)


def test_a_cookie_is_used_for_two_minutes(checker, writer):
    give_cookie(checker, writer, HERE, 1.0)
    assert writer.write(MESSAGE, 120.999)[-16:] != bytes(16)
    assert writer.write(MESSAGE, 121.0)[-16:] == bytes(16)


def test_a_reply_to_anything_but_the_last_message_is_refused(checker, writer):
    old = writer.write(MESSAGE, 0.0)
    reply = unpack_cookie_reply(memoryview(checker.cookie_reply(memoryview(old), HERE, 0.0)))
    writer.write(MESSAGE[:-1] + b"x", 0.0)
    assert not writer.read_reply(reply, 0.0)
    assert not MacWriter(PUBLIC).read_reply(reply, 0.0)


def test_one_message_takes_one_reply(checker, writer):
    stamped = memoryview(writer.write(MESSAGE, 0.0))
    reply = unpack_cookie_reply(memoryview(checker.cookie_reply(stamped, HERE, 0.0)))
    assert writer.read_reply(reply, 0.0)
    assert not writer.read_reply(reply, 0.0)


def test_a_forged_reply_is_refused_and_leaves_the_cookie(checker, writer):
    give_cookie(checker, writer, HERE, 0.0)
    good = writer.write(MESSAGE, 1.0)
    reply = unpack_cookie_reply(memoryview(checker.cookie_reply(memoryview(good), HERE, 1.0)))
    assert not writer.read_reply(reply._replace(cookie=bytes(32)), 1.0)
    assert writer.write(MESSAGE, 1.0) == good


def test_a_cookie_reply_names_the_sender_and_is_smaller_than_what_it_answers(checker, writer):
    stamped = memoryview(writer.write(MESSAGE, 0.0))
    reply = checker.cookie_reply(stamped, HERE, 0.0)
    assert unpack_cookie_reply(memoryview(reply)).receiver == 0x2A
    assert len(reply) < len(stamped)


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = TokenBucket(rate=16.0, burst=5.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert sum(bucket.take(step / 128) for step in range(1, 1281)) == 160


def test_load_begins_above_the_rate_and_ends_a_second_after():
    gauge = LoadGauge(0.0)
    assert not any(gauge.note(0.0) for _ in range(200))
    assert gauge.note(0.0)
    assert gauge.note(0.999)
    assert not gauge.note(1.0)


def test_a_rate_that_can_be_answered_is_no_load():
    gauge = LoadGauge(0.0)
    assert not any(gauge.note(step / 150) for step in range(3000))


def test_sources_are_limited_one_by_one():
    limiter = SourceLimiter()
    assert [limiter.allow(HERE, 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert not limiter.allow(ELSEWHERE, 0.0)  # the same address
    assert limiter.allow(Endpoint("192.0.2.2", 1000), 0.0)


def test_one_ipv6_network_of_64_bits_is_one_source():
    limiter = SourceLimiter()
    passed = sum(limiter.allow(Endpoint(f"2001:db8::{n:x}", 1), 0.0) for n in range(1, 20))
    assert passed == 5
    assert limiter.allow(Endpoint("2001:db8:0:1::1", 1), 0.0)


def test_the_memory_of_sources_is_bounded_and_idle_ones_make_room(monkeypatch):
    monkeypatch.setattr(cookie, "MAX_SOURCES", 10)
    limiter = SourceLimiter()
    passed = [limiter.allow(Endpoint(f"10.0.0.{n}", 1), 0.0) for n in range(20)]
    assert passed == [True] * 10 + [False] * 10
    assert len(limiter) == 10
    assert limiter.allow(Endpoint("10.0.0.99", 1), 10.0)
    assert len(limiter) == 1
