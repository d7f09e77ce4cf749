"""Sessions replace each other without losing a packet: under load, crossing, and over a day."""

from __future__ import annotations

import pytest
from rig import World, a_to_b, b_to_a, connect, make_pair

from ltk.protocol.engine import Drop
from ltk.protocol.events import HandshakeCompleted

INITIATION = 1


def stream(world: World, a, b, *, seconds: float, rate: float) -> int:
    """Send packets both ways at `rate` per second; return how many in each direction."""
    count = int(seconds * rate)
    for number in range(count):
        assert a.send(a_to_b(number)) is None
        assert b.send(b_to_a(number)) is None
        world.run(1 / rate)
    world.run(1)
    return count


def assert_nothing_lost(a, b, count: int, *, in_order: bool = True) -> None:
    for node, made in ((b, a_to_b), (a, b_to_a)):
        expected = [made(number) for number in range(count)]
        assert len(node.delivered) == count
        assert (node.delivered if in_order else sorted(node.delivered)) == expected


def test_three_rekeys_under_load_lose_no_packet(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.keep_log = False
    world.wire.delay = 0.05  # more than the time between two packets: some are under way as the keys change
    count = stream(world, a, b, seconds=400, rate=30)
    assert len(a.events_of(HandshakeCompleted)) == 4
    assert_nothing_lost(a, b, count)


def test_a_rekey_under_load_on_a_reordering_and_duplicating_wire_loses_no_packet(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.keep_log = False
    world.wire.jitter = 0.2  # three packets overtake each other
    world.wire.duplicate = 0.2
    count = stream(world, a, b, seconds=400, rate=15)
    assert len(a.events_of(HandshakeCompleted)) >= 4
    assert_nothing_lost(a, b, count, in_order=False)
    assert a.engine.drops[Drop.REPLAYED] > 500


@pytest.mark.parametrize("seed", range(6))
def test_rekeys_that_both_sides_start_at_once_lose_no_packet(seed):
    world = World(seed)
    a, b = make_pair(world)
    connect(world, a, b)
    world.wire.delay = 0.05
    world.wire.jitter = 0.0 if seed % 2 else 0.02
    count = 0
    for _ in range(5):
        for number in range(200):
            if number == 50:
                a.rekey("b")
            if number == 50 + seed // 2:
                b.rekey("a")
            a.send(a_to_b(count))
            b.send(b_to_a(count))
            count += 1
            world.run(0.03)
    world.run(1)
    crossings = min(len(world.sent_by(node, INITIATION)) for node in (a, b))
    assert crossings >= 5
    assert_nothing_lost(a, b, count, in_order=False)
    assert all(len(node.peer(other).keyring) <= 3 for node, other in ((a, "b"), (b, "a")))


def test_after_a_crossing_both_sides_settle_on_one_session(world):
    a, b = make_pair(world)
    a.send(a_to_b(0))
    b.send(b_to_a(0))
    for number in range(1, 20):
        world.run(0.1)
        a.send(a_to_b(number))
        b.send(b_to_a(number))
    world.run(1)
    assert_nothing_lost(a, b, 20)
    assert {a.session("b").initiator, b.session("a").initiator} == {True, False}
    assert a.session("b")._receiver == b.session("a").index


def test_a_rekey_whose_messages_are_lost_still_loses_no_packet(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.keep_log = False
    world.wire.lose = lambda sent: sent.kind in (1, 2, 3) and world.random.random() < 0.6
    count = stream(world, a, b, seconds=400, rate=10)
    assert_nothing_lost(a, b, count)


@pytest.mark.parametrize("seed", [1, 2])
def test_24_hours_of_light_traffic_lose_no_packet(seed):
    world = World(seed)
    a, b = make_pair(world)
    world.keep_log = False
    end = world.now + 24 * 3600
    sent_a = sent_b = 0
    while world.now < end:
        # Pauses from moments to longer than any session lives.
        world.run(
            world.random.choice((0.05, 1.0, 15.0, 40.0, 118.0, 170.0, 179.9, 600.0))
            * world.random.random()
            * 1.2
        )
        if world.random.random() < 0.5:
            a.send(a_to_b(sent_a))
            sent_a += 1
        else:
            b.send(b_to_a(sent_b))
            sent_b += 1
    world.run(10)
    assert sent_a > 300
    assert b.delivered == [a_to_b(number) for number in range(sent_a)]
    assert a.delivered == [b_to_a(number) for number in range(sent_b)]
    assert len(a.events_of(HandshakeCompleted)) > 200
    assert len(a.engine._local.queue._heap) < 20
