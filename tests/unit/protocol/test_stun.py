"""STUN: requests and answers that fit each other, and nothing answered with more than was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import HUB, STRANGER, A, make_star

from ltk.protocol import stun
from ltk.protocol.engine import Drop, Endpoint
from ltk.protocol.messages import MAIN_SOCKET, STUN_SOCKET

TRANSACTION = bytes(range(12))

# RFC 5769, section 2.2: the answer of a test vector, cut down to its XOR-MAPPED-ADDRESS.
RFC_TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
RFC_ANSWER = bytes.fromhex("0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643")


def test_the_published_answer_says_what_it_is_published_to_say():
    found = stun.mapped_address(memoryview(RFC_ANSWER), RFC_TRANSACTION)
    assert found == Endpoint("192.0.2.1", 32853)


@pytest.mark.parametrize("source", [A, Endpoint("2001:db8::9", 5)])
def test_an_answer_tells_the_source_and_is_no_larger_than_the_request(source):
    request = stun.binding_request(TRANSACTION)
    answer = stun.answer(memoryview(request), source)
    assert answer is not None
    assert len(answer) <= len(request)
    assert stun.mapped_address(memoryview(answer), TRANSACTION) == source
    assert stun.mapped_address(memoryview(answer), bytes(12)) is None


def test_a_request_smaller_than_its_answer_gets_none():
    bare = stun.binding_request(TRANSACTION)[:20]
    assert stun.answer(memoryview(bare), A) is None


@given(st.binary(max_size=100))
def test_no_bytes_make_either_side_raise(data):
    stun.answer(memoryview(data), A)
    stun.mapped_address(memoryview(b"\x01\x01" + data), data[6:18])


def test_a_server_answers_on_the_socket_that_was_asked_and_nobody_else_answers(world):
    hub, a, _ = make_star(world)
    request = memoryview(stun.binding_request(TRANSACTION))
    for socket in (MAIN_SOCKET, STUN_SOCKET):
        source = STRANGER._replace(socket=socket)
        assert hub.engine.handle_datagram(request, source, world.now) is None
        data, to, _, _ = hub.engine.poll_transmit()
        assert to == source
        assert stun.mapped_address(memoryview(data), TRANSACTION) == STRANGER
    assert a.engine.handle_datagram(request, HUB, world.now) is Drop.UNASKED_STUN
    assert a.engine.poll_transmit() is None


def test_the_second_socket_speaks_nothing_but_stun(world):
    hub, a, _ = make_star(world)
    sealed = memoryview(world.sent_by(a)[0].data)
    assert (
        hub.engine.handle_datagram(sealed, STRANGER._replace(socket=STUN_SOCKET), world.now)
        is Drop.UNKNOWN_TYPE
    )
