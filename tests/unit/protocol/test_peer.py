"""One pair of peers over time: handshakes, keepalives, ages, staged packets, HELLO."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
from rig import A, B, a_to_b, b_to_a, connect, fresh, make_pair

from ltk.protocol.engine import Drop
from ltk.protocol.events import HandshakeCompleted, HandshakeGaveUp, HelloReceived, SessionErased
from ltk.protocol.peer import MAX_STAGED
from ltk.protocol.session import REKEY_AFTER_MESSAGES

INITIATION, RESPONSE, DATA = 1, 2, 4


def keepalives(sent):
    return [s for s in sent if s.kind == DATA and len(s.data) == 32]


# Handshakes.


@pytest.mark.parametrize("psk", [bytes(32), b"k" * 32], ids=["no psk", "psk"])
def test_the_first_packet_arrives_after_one_and_a_half_round_trips(world, psk):
    a, b = make_pair(world, psk=psk)
    started = world.now
    a.send(a_to_b(7))
    world.run_until(lambda: b.delivered, 1.0, "the first packet")
    assert b.delivered == [a_to_b(7)]
    assert world.now - started == pytest.approx(0.030)
    assert [event for _, event in a.events_of(HandshakeCompleted)] == [HandshakeCompleted("b", True)]
    assert [event for _, event in b.events_of(HandshakeCompleted)] == [HandshakeCompleted("a", False)]


def test_different_preshared_keys_never_meet(world):
    a, b = make_pair(world)
    b.configure_peer("a", preshared_key=b"k" * 32)
    a.send(a_to_b())
    world.run(20)
    assert b.delivered == []
    assert a.engine.drops[Drop.NOT_AUTHENTIC] == len(world.sent_by(b, RESPONSE)) > 0


def test_the_responder_says_nothing_on_a_session_before_it_was_used(world):
    a, b = make_pair(world)
    world.wire.lose = lambda sent: sent.kind == DATA
    b.send(b_to_a(1))  # b asks, a answers, and b's first data never gets through
    world.run_until(lambda: world.sent_by(a, RESPONSE), 1.0, "the response of a")
    a.send(a_to_b(1))
    world.run(1.0)
    assert a.status("b").staged == 0  # a's own handshake carries it
    responded = {session.index for session in a.peer("b").keyring if not session.initiator}
    receivers = {s.data[4:8] for s in world.sent_by(a, DATA)}
    assert a.session("b").initiator
    assert len(responded) == len(receivers) == 1


def test_an_unanswered_handshake_is_retried_with_jitter_and_given_up_after_90_seconds(world):
    a, _ = make_pair(world)
    world.wire.loss = 1.0
    started = world.now
    for number in range(3):
        a.send(a_to_b(number))
    world.run(200)
    times = [s.at - started for s in world.sent_by(a)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 17 <= len(times) <= 18
    assert all(5.0 <= gap <= 5.333 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 10
    assert [(at - started, event) for at, event in a.events_of(HandshakeGaveUp)] == [
        (90.0, HandshakeGaveUp("b", 3))
    ]
    assert a.engine.drops[Drop.GAVE_UP] == 3
    assert a.status("b").staged == 0
    assert a.engine.next_timeout() is None


def test_after_giving_up_the_next_packet_starts_anew(world):
    a, b = make_pair(world)
    world.wire.loss = 1.0
    a.send(a_to_b(1))
    world.run(100)
    world.wire.loss = 0.0
    a.send(a_to_b(2))
    world.run(1)
    assert b.delivered == [a_to_b(2)]


def test_a_peer_with_a_keepalive_is_tried_for_ever(world):
    a, _ = make_pair(world, keepalive=2.0)
    world.wire.loss = 1.0
    world.run(1000)
    gave_up = a.events_of(HandshakeGaveUp)
    assert len(gave_up) >= 9
    world.wire.loss = 0.0
    world.run(10)
    assert a.status("b").sessions == 1


def test_handshakes_are_never_asked_for_more_often_than_every_5_seconds(world):
    a, b = make_pair(world)
    connect(world, a, b)
    a.peer("b")._erase()
    started = world.now
    a.send(a_to_b(5))
    a.send(a_to_b(6))
    world.run(10)
    assert b.delivered == [a_to_b(5), a_to_b(6)]
    first, second = world.sent_by(a, INITIATION)
    assert second.at - first.at == pytest.approx(5.0)
    assert second.at >= started


def test_a_keepalive_in_the_configuration_starts_the_handshake(world):
    a, b = make_pair(world, keepalive=20.0)
    world.run(1.0)
    assert a.status("b").sessions == b.status("a").sessions == 1


# Keepalives.


def test_data_heard_and_nothing_said_owes_a_keepalive_after_10_seconds(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.run(20)
    since = world.now
    a.send(a_to_b(1))
    world.run(60)
    (keepalive,) = fresh(world.sent, since)[1:]
    assert keepalive.source == B
    assert keepalives([keepalive])
    assert keepalive.at - since == pytest.approx(10.010)


def test_an_answer_makes_the_keepalive_unnecessary(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.run(20)
    since = world.now
    a.send(a_to_b(1))
    world.run(5)
    b.send(b_to_a(1))
    world.run(9.9)
    a.send(a_to_b(2))
    world.run(9.9)
    assert keepalives(fresh(world.sent, since)) == []


def test_a_persistent_keepalive_follows_the_last_sign_of_life(world):
    a, b = make_pair(world, keepalive=20.0)
    world.run(5.0)
    since = world.now
    a.send(a_to_b(1))
    world.run(9.0)
    b.send(b_to_a(1))
    world.run(100)
    sent = [s.at - since for s in keepalives(fresh(world.sent_by(a), since))]
    assert sent[0] == pytest.approx(19.010)  # b's packet is answered before the interval is over
    assert [later - earlier for earlier, later in itertools.pairwise(sent)] == pytest.approx([20.0] * 4)


def test_an_idle_pair_falls_silent(world):
    a, b = make_pair(world)
    connect(world, a, b)
    b.send(b_to_a(1))
    world.run(30)
    since = world.now
    world.run(3600)
    assert fresh(world.sent, since) == []


def test_data_said_and_nothing_heard_for_15_seconds_asks_for_a_new_session(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.run(20)
    world.wire.lose = lambda sent: sent.source == B and sent.kind == DATA
    since = world.now
    for number in range(10):
        a.send(a_to_b(number))
        world.run(1.0)
    world.run(10)
    asked = fresh(world.sent_by(a, INITIATION), since)
    assert asked[0].at - since == pytest.approx(15.0)


def test_a_peer_that_lost_its_memory_is_found_again(world):
    a, b = make_pair(world)
    connect(world, a, b)
    b = world.add("b", B, b.config.private_key, *b.config.peers, addresses=["10.0.0.2"])
    a.send(a_to_b(1))
    world.run(15.5)
    a.send(a_to_b(2))
    world.run(1)
    assert b.delivered == [a_to_b(2)]


# Ages.


def test_the_initiator_asks_for_a_new_session_when_it_sends_after_120_seconds(world):
    a, b = make_pair(world)
    connect(world, a, b)
    born = a.session("b").created
    world.run_until_time(born + 119.9)
    a.send(a_to_b(1))
    b.send(b_to_a(1))
    world.run_until_time(born + 120.0)
    assert len(world.sent_by(a, INITIATION)) == 1
    a.send(a_to_b(2))
    world.run(1)
    assert len(world.sent_by(a, INITIATION)) == 2
    assert a.status("b").handshake_age < 1.1


def test_the_responder_leaves_rekeying_to_the_initiator(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.run(130)
    b.send(b_to_a(1))
    world.run(1)
    assert world.sent_by(b, INITIATION) == []


def test_an_initiator_that_only_listens_asks_once_after_165_seconds(world):
    a, b = make_pair(world)
    connect(world, a, b)
    born = a.session("b").created
    world.run_until_time(born + 164.0)
    world.wire.lose = lambda sent: sent.kind == INITIATION
    b.send(b_to_a(1))
    world.run(0.9)
    assert len(world.sent_by(a, INITIATION)) == 1
    world.run(0.2)
    b.send(b_to_a(2))
    world.run(0.5)
    assert len(world.sent_by(a, INITIATION)) == 2


def test_a_key_that_has_sealed_enough_is_replaced(world):
    a, b = make_pair(world)
    connect(world, a, b)
    b.session("a")._sent = REKEY_AFTER_MESSAGES - 1
    world.run(5)
    b.send(b_to_a(1))
    world.run(1)
    assert len(world.sent_by(b, INITIATION)) == 1
    assert a.delivered == [b_to_a(1)]


def test_a_session_is_refused_from_180_seconds_on_in_both_directions(world):
    a, b = make_pair(world)
    connect(world, a, b)
    a_session, b_session = a.session("b"), b.session("a")
    a_session.created = b_session.created = born = world.now
    world.wire.loss = 1.0
    world.run_until_time(born + 170)
    a.send(a_to_b(1))
    a.send(a_to_b(2))
    first, second = (s.data for s in world.sent_by(a, DATA)[-2:])
    world.run_until_time(born + 179.9)
    b.receive(first, A)
    assert b.delivered == [a_to_b(1)]
    world.run_until_time(born + 180.0)
    assert b.receive(second, A) == Drop.SESSION_EXPIRED
    since = world.now
    assert a.send(a_to_b(3)) is None
    assert a.status("b").staged == 1
    assert fresh(world.sent_by(a, DATA), since) == []


def test_all_keys_are_gone_540_seconds_after_the_last_handshake(world):
    a, b = make_pair(world)
    connect(world, a, b)
    world.run(130)
    a.send(a_to_b(1))
    world.run(1)
    alive = [weakref.ref(s) for node, other in ((a, "b"), (b, "a")) for s in node.peer(other).keyring]
    assert len(alive) == 4
    born = max(ref().created for ref in alive)
    world.run_until_time(born + 539.9)
    gc.collect()
    assert all(ref() is not None for ref in alive if ref().initiator)
    world.run_until_time(born + 540.1)
    gc.collect()
    assert [ref for ref in alive if ref() is not None] == []
    assert [event for _, event in a.events_of(SessionErased)] == [SessionErased("b")]
    assert a.status("b").handshake_age is None
    assert not a.status("b").is_ltk
    assert a.engine._local.sessions == {}
    a.send(a_to_b(2))
    world.run(1)
    assert b.delivered[-1] == a_to_b(2)


# Staged packets.


def test_packets_wait_for_the_handshake_in_their_order(world):
    a, b = make_pair(world)
    for number in range(50):
        assert a.send(a_to_b(number)) is None
    assert a.status("b").staged == 50
    world.run(1)
    assert b.delivered == [a_to_b(number) for number in range(50)]


def test_at_most_128_packets_wait_and_the_oldest_make_room(world):
    a, b = make_pair(world)
    for number in range(MAX_STAGED + 10):
        a.send(a_to_b(number))
    assert a.status("b").staged == 128
    assert a.engine.drops[Drop.STAGED_OVERFLOW] == 10
    world.run(1)
    assert b.delivered == [a_to_b(number) for number in range(10, MAX_STAGED + 10)]


def test_a_full_stage_of_large_packets_leaves_at_once(world):
    a, b = make_pair(world)
    a.configure(mtu=9000)
    for number in range(MAX_STAGED):
        a.send(a_to_b(number, size=9000))
    world.run(1)
    assert b.delivered == [a_to_b(number, size=9000) for number in range(MAX_STAGED)]


# HELLO.


def test_both_sides_say_hello_and_stop_when_it_is_acknowledged(world):
    a, b = make_pair(world)
    a.send(a_to_b(1))
    world.run(60)
    assert a.status("b").is_ltk
    assert b.status("a").is_ltk
    assert len(a.events_of(HelloReceived)) == len(b.events_of(HelloReceived)) == 1
    frames = [s for s in world.sent if s.kind == DATA and len(s.data) == 48]
    assert len(frames) == 4  # a HELLO and an acknowledgement each way


def test_a_lost_hello_is_said_again(world):
    a, b = make_pair(world)
    lost = []

    def lose_first_data(sent):
        if sent.kind == DATA and len(lost) < 3:
            lost.append(sent)
            return True
        return False

    world.wire.lose = lose_first_data
    a.send(a_to_b(1))
    world.run(20)
    assert a.status("b").is_ltk
    assert b.status("a").is_ltk


def make_stock(node):
    """Make a node ignore control frames, as a stock WireGuard peer does."""
    peer = next(iter(node.engine._peers.values()))

    class NoGreeting(type(peer.greeting)):
        __slots__ = ()

        def accept_hello(self, session, hello, now):
            peer.heard_payload(is_packet=True, now=now)  # for a stock peer it is data

        def accept_hello_ack(self, session, hello, now):
            peer.heard_payload(is_packet=True, now=now)

        def say(self, now):
            peer.liveness.send_keepalive(now)

    peer.greeting.__class__ = NoGreeting


def test_a_stock_peer_hears_five_hellos_and_then_silence(world):
    a, b = make_pair(world)
    make_stock(b)
    a.send(a_to_b(1))
    world.run(120)
    assert not a.status("b").is_ltk
    hellos = [s for s in world.sent_by(a, DATA) if len(s.data) == 48]
    born = hellos[0].at
    assert [round(s.at - born) for s in hellos] == [0, 1, 3, 7, 15]
    assert len(world.sent_by(b, DATA)) <= 5
    since = world.now
    world.run(3600)
    assert fresh(world.sent, since) == []
    assert len(world.sent_by(a, INITIATION)) == 1
    assert world.sent_by(b, INITIATION) == []
