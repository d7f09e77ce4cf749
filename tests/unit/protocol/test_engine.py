"""The facade: routing, forwarding, roaming, configuration, load."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from rig import (
    HUB,
    STRANGER,
    A,
    B,
    World,
    a_to_b,
    b_to_a,
    connect,
    fresh,
    make_pair,
    make_star,
    networks,
    packet,
)
from test_primitives import LOW_ORDER_POINTS

from ltk.errors import InvalidInputError
from ltk.protocol.cookie import MacWriter
from ltk.protocol.engine import Drop, Endpoint, PeerConfig
from ltk.protocol.events import EndpointChanged, SessionErased
from ltk.protocol.messages import unpack_cookie_reply
from ltk.protocol.primitives import private_key_from_random, public_key_of

INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4


# Packets through the tunnel.


@pytest.mark.parametrize("size", [20, 21, 35, 36, 1379, 1380])
def test_packets_of_every_size_arrive_whole_and_are_padded_within_the_mtu(world, size):
    a, b = make_pair(world)
    connect(world, a, b)
    inner = packet("10.0.0.1", "10.0.0.2", size=size)
    assert a.send(inner) is None
    world.run(1)
    assert b.delivered == [inner]
    assert len(world.sent_by(a, DATA)[-1].data) - 32 == min(-(-size // 16) * 16, 1380)


def test_ipv6_passes_as_ipv4_does(world):
    a, b = make_pair(world)
    inner = packet("fd00::1", "fd00::2", b"six")
    a.send(inner)
    world.run(1)
    assert b.delivered == [inner]


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (packet("10.0.0.1", "10.9.9.9"), Drop.NO_ROUTE),
        (packet("10.0.0.1", "10.0.0.2")[:-1], Drop.MALFORMED_PACKET),
        (b"", Drop.MALFORMED_PACKET),
        (b"\x75" + bytes(30), Drop.MALFORMED_PACKET),
    ],
)
def test_a_packet_that_cannot_leave_is_dropped_with_its_reason(world, inner, reason):
    a, _ = make_pair(world)
    assert a.send(inner) == reason
    assert a.engine.drops[reason] == 1
    assert world.sent == []


def test_a_peer_that_is_nowhere_yet_takes_no_packets(world):
    _, b = make_pair(world, b_knows_a=False)
    assert b.send(b_to_a()) == Drop.NO_ENDPOINT
    assert b.status("a").staged == 0


def seal_to(world, node, peer: str, payload: bytes) -> None:
    """Send any payload on the session, as only the peer itself could."""
    out = memoryview(bytearray(len(payload) + 32))
    node.session(peer).seal(payload, out)
    world.inject(bytes(out), node.endpoint, node.status(peer).endpoint)
    world.run(1)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (packet("10.0.0.9", "10.0.0.2"), Drop.SOURCE_NOT_ALLOWED),
        (packet("10.0.0.2", "10.0.0.2"), Drop.SOURCE_NOT_ALLOWED),
        (packet("fd00::2", "fd00::2"), Drop.SOURCE_NOT_ALLOWED),
        (packet("10.0.0.1", "10.0.0.2")[:-1], Drop.MALFORMED_PACKET),
        (b"\x45", Drop.MALFORMED_PACKET),
        (b"\x6f" + bytes(15), Drop.MALFORMED_PACKET),
        (b"\x20\x01", Drop.MALFORMED_FRAME),
        (b"\x2f" + bytes(15), Drop.UNKNOWN_FRAME),
        (b"\x00" * 16, Drop.UNKNOWN_FRAME),
        (b"\xff" * 16, Drop.UNKNOWN_FRAME),
    ],
)
def test_what_a_peer_may_not_say_is_dropped_with_its_reason(world, payload, reason):
    a, b = make_pair(world)
    connect(world, a, b)
    before = b.engine.drops[reason]
    seal_to(world, a, "b", payload)
    assert b.engine.drops[reason] == before + 1
    assert b.delivered == []


# Forwarding.


def test_a_forwarding_hub_seals_for_the_other_client_at_once(world):
    hub, a, b = make_star(world)
    a.send(a_to_b(1))
    world.run(1)
    assert b.delivered == [a_to_b(1)]
    assert hub.delivered == []


def test_packets_for_the_hub_and_for_what_lies_behind_it_go_to_its_tun(world):
    hub, a, _ = make_star(world)
    to_hub, beyond = packet("10.0.0.1", "10.0.0.254"), packet("10.0.0.1", "8.8.8.8")
    a.send(to_hub)
    a.send(beyond)
    world.run(1)
    assert hub.delivered == [to_hub, beyond]


def test_a_hub_forwards_to_networks_behind_a_client(world):
    _, a, b = make_star(world)
    beyond = packet("10.0.0.1", "192.168.7.5")
    a.send(beyond)
    world.run(1)
    assert b.delivered == [beyond]


def test_a_client_cannot_speak_for_another_through_the_hub(world):
    hub, a, b = make_star(world)
    a.send(packet("10.0.0.2", "10.0.0.254"))
    a.send(packet("192.168.7.1", "10.0.0.2"))
    world.run(1)
    assert (hub.delivered, b.delivered) == ([], [])
    assert hub.engine.drops[Drop.SOURCE_NOT_ALLOWED] == 2


def test_a_packet_is_not_sent_back_to_where_it_came_from(world):
    hub, _, b = make_star(world)
    b.send(packet("10.0.0.2", "192.168.7.5"))
    world.run(1)
    assert hub.engine.drops[Drop.HAIRPIN] == 1
    assert b.delivered == []


def test_isolation_keeps_clients_apart_and_the_hub_reachable(world):
    hub, a, b = make_star(world, isolation=True)
    to_hub = packet("10.0.0.1", "10.0.0.254")
    a.send(a_to_b(1))
    a.send(to_hub)
    world.run(1)
    assert b.delivered == []
    assert hub.delivered == [to_hub]
    assert hub.engine.drops[Drop.ISOLATED] == 1


def test_without_forwarding_everything_goes_to_the_tun(world):
    hub, a, b = make_star(world)
    hub.configure(forward=False)
    a.send(a_to_b(1))
    world.run(1)
    assert hub.delivered == [a_to_b(1)]
    assert b.delivered == []


def test_a_packet_forwarded_to_a_client_without_a_session_waits_for_one(world):
    hub, a, b = make_star(world)
    hub.peer("b")._erase()
    world.run(6)
    a.send(a_to_b(1))
    world.run(1)
    assert b.delivered == [a_to_b(1)]


# Roaming.


def test_answers_follow_a_peer_to_its_new_address(world):
    a, b = make_pair(world)
    connect(world, a, b)
    a.endpoint = Endpoint("192.0.2.77", 7)
    a.send(a_to_b(1))
    world.run(0.02)
    b.send(b_to_a(1))
    world.run(1)
    assert a.delivered == [b_to_a(1)]
    assert b.events_of(EndpointChanged)[-1][1] == EndpointChanged("a", A, a.endpoint)
    assert b.status("a").endpoint == a.endpoint


def test_a_recorded_datagram_from_elsewhere_moves_nobody(world):
    a, b = make_pair(world)
    connect(world, a, b)
    for sent in [s for s in world.sent if s.destination == B]:
        assert b.receive(sent.data, STRANGER) in {Drop.REPLAYED, Drop.STALE_TIMESTAMP}
    assert b.status("a").endpoint == A
    assert b.delivered == []


def test_a_hub_learns_where_its_clients_are(world):
    hub, a, _ = make_star(world)
    assert hub.status("a").endpoint == a.endpoint
    assert a.status("hub").endpoint == HUB


# Configuration.


def test_configuring_one_peer_leaves_the_sessions_of_the_others_untouched(world):
    hub, _, b = make_star(world)
    to_a = hub.config.peers[0]
    before = hub.session("b")
    since = world.now
    hub.configure(peers=hub.config.peers[1:])
    assert hub.events_of(SessionErased)[-1][1] == SessionErased("a")
    hub.configure(peers=(replace(to_a, keepalive=5.0), *hub.config.peers))
    assert hub.session("b") is before
    assert fresh(world.sent, since) == []
    inner = packet("10.0.0.2", "10.0.0.254")
    b.send(inner)
    world.run(1)
    assert hub.delivered == [inner]


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": Endpoint("198.51.100.2", 4444)},
        {"allowed_ips": networks("10.0.0.2/32", "10.7.0.0/16")},
        {"keepalive": 5.0},
        {"name": "b"},
    ],
    ids=["endpoint", "allowed_ips", "keepalive", "nothing"],
)
def test_a_change_that_needs_no_new_keys_keeps_the_session(world, changes):
    a, b = make_pair(world)
    connect(world, a, b)
    before = a.session("b")
    a.configure_peer("b", **changes)
    assert a.session("b") is before
    assert a.status("b").endpoint == changes.get("endpoint", B)


def test_a_learned_endpoint_survives_an_unchanged_configuration(world):
    a, b = make_pair(world)
    connect(world, a, b)
    b.endpoint = Endpoint("198.51.100.99", 1)
    b.send(b_to_a())
    world.run(1)
    a.configure_peer("b", keepalive=7.0)
    assert a.status("b").endpoint == b.endpoint


def test_addresses_move_to_another_peer_with_the_configuration(world):
    hub, a, _ = make_star(world)
    moved = (replace(hub.config.peers[0], allowed_ips=()), hub.config.peers[1])
    hub.configure(peers=(moved[0], replace(moved[1], allowed_ips=networks("10.0.0.1/32"))))
    a.send(packet("10.0.0.1", "10.0.0.254"))
    world.run(1)
    assert hub.delivered == []
    assert hub.engine.drops[Drop.SOURCE_NOT_ALLOWED] == 1


def test_a_changed_preshared_key_ends_the_sessions_of_that_peer_and_packets_wait(world):
    a, b = make_pair(world)
    connect(world, a, b)
    a.configure_peer("b", preshared_key=b"k" * 32)
    assert a.status("b").sessions == 0
    assert a.events_of(SessionErased)[-1][1] == SessionErased("b")
    a.send(a_to_b(1))
    world.run(1)
    assert b.delivered == []
    b.configure_peer("a", preshared_key=b"k" * 32)
    world.run(6)
    assert b.delivered == [a_to_b(1)]


def test_a_changed_private_key_ends_all_sessions_and_the_new_one_is_used(world):
    a, b = make_pair(world)
    connect(world, a, b)
    new = world.private_key()
    a.configure(private_key=new)
    assert a.status("b").sessions == 0
    assert a.engine.public_key == public_key_of(new)
    a.send(a_to_b(1))
    world.run(1)
    assert b.engine.drops[Drop.UNKNOWN_PEER] == 1
    b.configure_peer("a", public_key=public_key_of(new))
    world.run(6)
    assert b.delivered == [a_to_b(1)]


def test_a_removed_peer_takes_its_waiting_packets_with_it(world):
    a, _ = make_pair(world)
    a.send(a_to_b(1))
    a.configure(peers=())
    assert a.engine.drops[Drop.PEER_REMOVED] == 1
    assert a.engine.status(world.now) == ()
    assert a.engine.next_timeout() is None
    assert a.send(a_to_b(2)) == Drop.NO_ROUTE


def test_changes_of_the_own_addresses_count_at_once(world):
    hub, a, _ = make_star(world)
    hub.configure(addresses=(ip_address("10.0.0.2"),))
    a.send(a_to_b(1))
    world.run(1)
    assert hub.delivered == [a_to_b(1)]


def test_a_configuration_that_cannot_be_meant_is_refused_and_changes_nothing(world):
    a, b = make_pair(world)
    connect(world, a, b)
    to_b = a.config.peers[0]
    for changes, said in [
        ({"private_key": b"short"}, "private key"),
        ({"peers": (replace(to_b, public_key=b"short"),)}, "'b' does not have 32 bytes"),
        ({"peers": (to_b, replace(to_b, name="again"))}, "'b' and 'again'"),
        ({"peers": (replace(to_b, public_key=a.engine.public_key),)}, "own public key"),
    ]:
        with pytest.raises(InvalidInputError, match=said):
            a.engine.configure(replace(a.config, **changes), world.now)
    a.send(a_to_b(1))
    world.run(1)
    assert b.delivered == [a_to_b(1)]


def test_secrets_do_not_show_in_a_configuration():
    peer = PeerConfig("b", b"p" * 32, preshared_key=b"secret-psk".ljust(32))
    assert "secret" not in repr(peer)


def test_status_tells_what_passed(world):
    a, b = make_pair(world)
    connect(world, a, b)
    status = a.status("b")
    datagrams = world.sent_by(a)
    assert (status.tx_packets, status.tx_bytes) == (len(datagrams), sum(len(s.data) for s in datagrams))
    answers = world.sent_by(b)
    assert (status.rx_packets, status.rx_bytes) == (len(answers), sum(len(s.data) for s in answers))
    assert status.public_key == b.engine.public_key
    assert status.handshake_age == pytest.approx(1.01)
    assert (status.sessions, status.staged, status.is_ltk) == (1, 0, True)


# Odd keys.


@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=range(7))
def test_nothing_is_ever_sent_to_a_low_order_key(point):
    world = World(seed=3)
    peer = PeerConfig("odd", point, endpoint=B, allowed_ips=networks("10.0.0.2/32"), keepalive=5.0)
    a = world.add("a", A, world.private_key(), peer, addresses=["10.0.0.1"])
    assert a.send(a_to_b()) == Drop.LOW_ORDER_KEY
    world.run(300)
    assert world.sent == []


# Under load.


def flood(world, node, count: int = 250) -> None:
    """Send messages with a valid mac1 and nothing else that holds, more than the node wants to look at."""
    writer = MacWriter(node.engine.public_key)
    for number in range(count):
        junk = b"\1\0\0\0" + number.to_bytes(4, "little") + world.random.randbytes(108)
        node.receive(writer.write(junk, world.now), STRANGER)


def test_under_load_a_newcomer_proves_its_address_and_is_in_within_11_seconds(world):
    a, b = make_pair(world)
    flood(world, b)
    a.send(a_to_b(1))
    started = world.now
    while not b.delivered and world.now - started < 11:
        world.run(0.5)
        flood(world, b)
    assert b.delivered == [a_to_b(1)]
    assert len([s for s in world.sent_by(b, COOKIE) if s.destination == A]) == 1
    assert len(world.sent_by(a, INITIATION)) == 2


def test_an_initiator_under_load_makes_the_responder_prove_its_address(world):
    a, b = make_pair(world)
    a.send(a_to_b(1))
    flood(world, a)
    world.run(1)
    assert [s.destination for s in world.sent_by(a, COOKIE)][-1] == B
    assert a.engine.drops[Drop.COOKIE_DEMANDED] > 0
    assert b.delivered == []
    for _ in range(10):
        flood(world, a)
        world.run(0.5)
    assert b.delivered == [a_to_b(1)]


def test_a_cookie_reply_makes_nobody_send_sooner(world):
    a, b = make_pair(world)
    flood(world, b)
    a.send(a_to_b(1))
    world.run(4.9)
    assert len(world.sent_by(a)) == 1


def test_under_load_every_answer_is_smaller_than_what_it_answers(world):
    _, b = make_pair(world)
    flood(world, b, 1000)
    answers = world.sent_by(b)
    assert 700 < len(answers) <= 800
    assert {len(s.data) for s in answers} == {64}
    assert b.engine.drops[Drop.NOT_AUTHENTIC] == 200


def test_an_address_that_proved_itself_is_limited_to_20_a_second(world):
    _, b = make_pair(world)
    flood(world, b)
    writer = MacWriter(b.engine.public_key)
    junk = b"\1\0\0\0" + world.random.randbytes(112)
    b.receive(writer.write(junk, world.now), STRANGER)
    reply = world.sent_by(b, COOKIE)[-1].data
    assert writer.read_reply(unpack_cookie_reply(memoryview(reply)), world.now)
    stamped = writer.write(junk, world.now)
    results = [b.receive(stamped, STRANGER) for _ in range(20)]
    assert results == [Drop.NOT_AUTHENTIC] * 5 + [Drop.RATE_LIMITED] * 15


def test_a_calm_node_demands_no_cookies(world):
    hub, _, _ = make_star(world)
    assert world.sent_by(hub, COOKIE) == []
    assert hub.engine.drops[Drop.COOKIE_DEMANDED] == 0


def test_200_clients_that_come_at_once_are_all_answered(world):
    world.keep_log = False
    hub_key = world.private_key()
    keys = [private_key_from_random(world.random.randbytes(32)) for _ in range(200)]
    clients = [
        PeerConfig(f"c{n}", public_key_of(key), allowed_ips=networks(f"10.1.0.{n}/32"))
        for n, key in enumerate(keys)
    ]
    hub = world.add("hub", HUB, hub_key, *clients, addresses=["10.0.0.254"], forward=True)
    to_hub = PeerConfig("hub", public_key_of(hub_key), endpoint=HUB, keepalive=20.0)
    for n, key in enumerate(keys):
        world.add(f"c{n}", Endpoint(f"192.0.2.{n}", 1), key, to_hub, addresses=[f"10.1.0.{n}"])
    world.run(0.1)
    assert all(status.sessions == 1 for status in hub.engine.status(world.now))
