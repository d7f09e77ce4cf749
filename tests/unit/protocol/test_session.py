"""One key pair: bursts, limits, ages, and nonces that are never used twice."""

from __future__ import annotations

import pytest

from ltk.protocol import session as session_module
from ltk.protocol.drops import Drop
from ltk.protocol.noise import TransportKeys
from ltk.protocol.session import REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES, Session

ONE, TWO = b"1" * 32, b"2" * 32


def both_sides() -> tuple[Session, Session]:
    left = Session(11, 22, TransportKeys(ONE, TWO), initiator=True, created=100.0)
    right = Session(22, 11, TransportKeys(TWO, ONE), initiator=False, created=100.0)
    return left, right


def datagrams(out: memoryview, ends: list[int]) -> list[memoryview]:
    return [out[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def seal(session: Session, *payloads: bytes) -> list[bytes]:
    out = memoryview(bytearray(sum(len(payload) + 32 for payload in payloads)))
    return [bytes(view) for view in datagrams(out, session.seal(payloads, out))]


def open_(session: Session, datagram: bytes) -> bytes | Drop:
    into = memoryview(bytearray(len(datagram) - 32))
    result = session.open_one(datagram, into)
    return result if isinstance(result, Drop) else bytes(into[:result])


def test_a_burst_lies_back_to_back_and_opens_in_any_order():
    left, right = both_sides()
    payloads = [b"", b"a" * 16, b"b" * 1380, b"c"]
    sealed = seal(left, *payloads)
    assert [len(datagram) for datagram in sealed] == [32, 48, 1412, 33]
    assert [open_(right, datagram) for datagram in reversed(sealed)] == payloads[::-1]


def test_a_payload_may_be_built_over_the_one_before():
    left, right = both_sides()
    buffer = bytearray(b"Hfirst-Hsecond")

    def in_place():
        yield memoryview(buffer)[0:6]
        buffer[5:6] = b"h"  # over the end of what is sealed already
        yield memoryview(buffer)[5:14]

    out = memoryview(bytearray(200))
    first, second = datagrams(out, left.seal(in_place(), out))
    assert open_(right, first) == b"Hfirst"
    assert open_(right, second) == b"h-Hsecond"


def test_a_burst_opened_in_reverse_comes_out_joined():
    left, right = both_sides()
    sealed = seal(left, b"h0AAAA", b"h1BBBB", b"h2CC")
    buffer = memoryview(bytearray(12))
    views = [buffer[8:12], buffer[4:10], buffer[0:6]]
    headers = []
    for size, view in zip(right.open(reversed(sealed), views), views, strict=True):
        headers.append(bytes(view[:2]))  # read before the next payload's end is written over it
        assert size == len(view)
    assert headers == [b"h2", b"h1", b"h0"]
    assert bytes(buffer[2:]) == b"AAAABBBBCC"


def test_one_bad_datagram_in_a_burst_harms_no_other():
    left, right = both_sides()
    sealed = seal(left, b"one", b"two", b"three")
    sealed[1] = sealed[1][:-1] + bytes([sealed[1][-1] ^ 1])
    views = [memoryview(bytearray(8)) for _ in sealed]
    assert list(right.open(sealed, views)) == [3, Drop.NOT_AUTHENTIC, 5]


def test_a_repeated_datagram_is_refused_and_a_forged_one_does_not_use_up_its_counter():
    left, right = both_sides()
    (sealed,) = seal(left, b"payload")
    assert open_(right, sealed[:-1] + bytes([sealed[-1] ^ 1])) == Drop.NOT_AUTHENTIC
    assert open_(right, sealed) == b"payload"
    assert open_(right, sealed) == Drop.REPLAYED


def test_the_counter_in_the_header_is_authenticated():
    left, right = both_sides()
    (sealed,) = seal(left, b"payload")
    assert open_(right, sealed[:8] + b"\1" + sealed[9:]) == Drop.NOT_AUTHENTIC


def test_no_nonce_is_used_twice_when_making_a_payload_fails():
    left, right = both_sides()

    def failing():
        yield b"first"
        raise RuntimeError("no more")

    out = memoryview(bytearray(100))
    with pytest.raises(RuntimeError):
        left.seal(failing(), out)
    assert left.sent == 1
    (after,) = seal(left, b"second")
    assert open_(right, bytes(out[:37])) == b"first"
    assert open_(right, after) == b"second"


def test_a_burst_stops_at_the_last_message_that_a_key_may_seal():
    left, right = both_sides()
    left._sent = REJECT_AFTER_MESSAGES - 2
    sealed = seal(left, b"a", b"b", b"c")
    assert [open_(right, datagram) for datagram in sealed] == [b"a", b"b"]
    assert not left.may_send(100.0)


def test_a_counter_past_the_limit_is_not_opened():
    left, right = both_sides()
    (sealed,) = seal(left, b"a")
    assert open_(right, sealed[:8] + REJECT_AFTER_MESSAGES.to_bytes(8, "little") + sealed[16:]) == (
        Drop.SESSION_EXPIRED
    )


def test_ages_and_message_counts_end_a_session():
    left, right = both_sides()
    assert not left.wants_rekey(219.999)
    assert left.wants_rekey(220.0)
    assert not right.wants_rekey(270.0)  # the responder leaves it to the initiator
    right._sent = REKEY_AFTER_MESSAGES
    assert right.wants_rekey(100.0)
    assert right.may_receive(279.999)
    assert not right.may_receive(280.0)
    assert left.may_send(274.999)
    assert not left.may_send(275.0)
    assert session_module.REJECT_AFTER_TIME == 180.0


def test_a_session_does_not_show_its_keys():
    left, _ = both_sides()
    assert ONE.decode() not in repr(left)
    assert "initiator" in repr(left)
