"""Whatever a stranger sends: no exception, no answer, nothing delivered, nothing changed."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import STRANGER, A, B, Node, World, a_to_b, b_to_a, connect, digest, make_pair

from ltk.protocol.cookie import MacWriter
from ltk.protocol.engine import Drop

MUTATIONS = 20_000


def network_with_a_past() -> tuple[World, Node, Node, list[bytes]]:
    """A pair that has talked, with a handshake of b pending, and everything that b ever received."""
    world = World(seed=5)
    a, b = make_pair(world)
    connect(world, a, b)
    for number in range(20):
        a.send(a_to_b(number, size=20 + 8 + 61 * number))
        b.send(b_to_a(number))
        world.run(0.1)
    world.wire.lose = lambda sent: sent.kind in (1, 2)
    b.rekey("a")
    recorded = [sent.data for sent in world.sent if sent.destination == B]
    # A genuine cookie reply and a genuine response, neither of which arrived.
    pending = next(sent.data for sent in reversed(world.sent) if sent.source == B and sent.kind == 1)
    a.receive(pending, B)
    recorded.append(world.sent_by(a, 2)[-1].data)
    recorded.append(a.engine._checker.cookie_reply(memoryview(pending), B, world.now))
    world.wire.lose = lambda sent: True
    b.delivered.clear()
    b.events.clear()
    world.sent.clear()
    return world, a, b, recorded


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Change a datagram so that none of its authenticated parts stays as it was, or none is there."""
    changed = bytearray(data)
    match rng.randrange(6):
        case 0:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        case 1:
            for _ in range(rng.randrange(1, 9)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        case 2:
            del changed[rng.randrange(len(changed)) :]
        case 3:
            changed += rng.randbytes(rng.randrange(1, 40))
        case 4:
            other = rng.choice(others)
            cut = rng.randrange(len(changed))
            changed[cut:] = other[cut:]
        case _:
            changed[rng.randrange(4, len(changed)) :] = rng.randbytes(rng.randrange(200))
    return bytes(changed)


def test_mutated_datagrams_change_nothing_and_are_not_answered():
    world, _, b, recorded = network_with_a_past()
    rng = random.Random(20_000)
    before = digest(b.engine)
    # What differs from a genuine handshake message in mac2 alone is that message: nobody has asked for mac2.
    genuine = {data[:-16] for data in recorded if data[0] in (1, 2)} | set(recorded)
    refused = 0
    for number in range(MUTATIONS):
        data = mutate(rng, rng.choice(recorded), recorded)
        if data in genuine or data[:-16] in genuine:
            continue
        assert b.receive(data, STRANGER) is not None
        refused += 1
        if number % 2000 == 0:
            assert digest(b.engine) == before
    assert refused > MUTATIONS * 0.9
    assert digest(b.engine) == before
    assert (world.sent, b.delivered, b.events) == ([], [], [])
    assert len([count for count in b.engine.drops.values() if count]) >= 6


def test_the_digest_sees_every_change_that_matters():
    _, _, b, recorded = network_with_a_past()
    before = digest(b.engine)
    assert b.receive(recorded[-1], A) is None  # the genuine cookie reply
    with_cookie = digest(b.engine)
    assert with_cookie != before
    assert b.receive(recorded[-2], A) is None  # the genuine response
    assert digest(b.engine) not in (before, with_cookie)


def test_a_whole_capture_again_delivers_nothing():
    world, _, b, recorded = network_with_a_past()
    again = recorded[:-2] * 2
    random.Random(1).shuffle(again)
    before = digest(b.engine)
    for data in again:
        assert b.receive(data, STRANGER) in {Drop.REPLAYED, Drop.STALE_TIMESTAMP, Drop.UNKNOWN_RECEIVER}
    assert digest(b.engine) == before
    assert (world.sent, b.delivered) == ([], [])


def test_two_initiations_of_one_peer_within_20_ms_are_one_too_many(world):
    a, b = make_pair(world)
    world.wire.loss = 1.0
    a.send(a_to_b(1))
    world.run(6)
    first, second = (sent.data for sent in world.sent_by(a, 1))
    assert b.receive(first, A) is None
    world.now += 0.019
    assert b.receive(second, A) == Drop.HANDSHAKE_FLOOD
    world.now += 0.002
    assert b.receive(second, A) is None
    assert b.receive(first, A) == Drop.STALE_TIMESTAMP
    assert len(world.sent_by(b, 2)) == 2


def test_a_stranger_with_the_public_key_gets_no_answer(world):
    a, b = make_pair(world)
    b.configure(peers=())
    a.send(a_to_b(1))
    world.run(1)
    assert b.engine.drops[Drop.UNKNOWN_PEER] == 1
    assert world.sent_by(b) == []


@pytest.mark.parametrize(
    "kind",
    [b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0", b"\x80\0\0\0", b"", b"\0\1\0\0\x21\x12\xa4\x42"],
)
def test_junk_meets_silence(kind):
    world, _, b, _ = network_with_a_past()
    rng = random.Random(7)
    indices = [*b.engine._local.sessions, *b.engine._local.handshakes]
    sizes = (148, 92, 64, 32, 48)
    for number in range(3000):
        index = rng.choice(indices).to_bytes(4, "little")
        start = kind + rng.choice((index, rng.randbytes(4) + index, rng.randbytes(8)))
        size = rng.choice(sizes) if number % 2 else rng.randrange(200)
        data = (start + rng.randbytes(200))[:size]
        assert b.receive(data, STRANGER) is not None
    assert (world.sent, b.delivered, b.events) == ([], [], [])


def test_junk_with_a_valid_mac1_meets_silence_while_the_node_is_calm():
    world, _, b, _ = network_with_a_past()
    rng = random.Random(7)
    writer = MacWriter(b.engine.public_key)
    before = digest(b.engine)
    low_order = bytes(32)
    for number in range(150):
        ephemeral = low_order if number % 3 == 0 else rng.randbytes(32)
        message = b"\1\0\0\0" + rng.randbytes(4) + ephemeral + rng.randbytes(76)
        assert b.receive(writer.write(message, 0.0), STRANGER) in {Drop.NOT_AUTHENTIC, Drop.LOW_ORDER_KEY}
    assert digest(b.engine) == before
    assert (world.sent, b.delivered, b.events) == ([], [], [])
    assert b.engine.drops[Drop.LOW_ORDER_KEY] == 50


NETWORK = network_with_a_past()


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(st.binary(max_size=2000), st.tuples(st.sampled_from([1, 2, 3, 4]), st.binary(max_size=160))))
def test_no_bytes_of_any_shape_raise_or_get_through(shape):
    world, _, b, _ = NETWORK
    data = shape if isinstance(shape, bytes) else bytes([shape[0], 0, 0, 0]) + shape[1]
    assert b.receive(data, STRANGER) is not None
    assert (world.sent, b.delivered, b.events) == ([], [], [])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
def test_no_packet_from_the_tun_raises(data):
    world = World(seed=9)
    a, _ = make_pair(world)
    dropped = a.send(data) is not None
    assert dropped == (a.status("b").staged == 0)
