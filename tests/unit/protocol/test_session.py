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


def seal(session: Session, *payloads: bytes) -> list[bytes]:
    sealed = [bytearray(len(payload) + 32) for payload in payloads]
    return [
        bytes(out)
        for payload, out in zip(payloads, sealed, strict=True)
        if session.seal(payload, memoryview(out))
    ]


def open_(session: Session, datagram: bytes) -> bytes | Drop:
    into = memoryview(bytearray(len(datagram) - 32))
    result = session.open(datagram, into)
    return result if isinstance(result, Drop) else bytes(into[:result])


def test_what_was_sealed_opens_in_any_order():
    left, right = both_sides()
    payloads = [b"", b"a" * 16, b"b" * 1380, b"c"]
    sealed = seal(left, *payloads)
    assert [len(datagram) for datagram in sealed] == [32, 48, 1412, 33]
    assert [open_(right, datagram) for datagram in reversed(sealed)] == payloads[::-1]


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


def test_no_nonce_is_used_twice_when_sealing_fails():
    left, right = both_sides()
    with pytest.raises(ValueError, match="buffer"):
        left.seal(b"first", memoryview(bytearray(40)))
    assert left.sent == 1
    (after,) = seal(left, b"second")
    assert open_(right, after) == b"second"


def test_a_burst_takes_counters_of_its_own_or_none():
    left, _ = both_sides()
    assert left.begin_burst(3)[:2] == (22, 0)
    assert left.begin_burst(2)[:2] == (22, 3)
    left._sent = REJECT_AFTER_MESSAGES - 2
    assert left.begin_burst(3) is None
    assert left.begin_burst(2)[:2] == (22, REJECT_AFTER_MESSAGES - 2)


def test_sealing_stops_at_the_last_message_that_a_key_may_seal():
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
