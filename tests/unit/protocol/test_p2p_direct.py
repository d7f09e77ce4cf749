"""From a cold start to a direct path: who gets one, how fast, and what the packets do meanwhile."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest
from sim import Node, Simulation
from sim_net import (
    ALL_CLASSES,
    HOME,
    INTERNET_DELAY,
    PORT_RESTRICTED,
    SEQUENTIAL,
    SYMMETRIC,
    NatKind,
    Segment,
    method,
)
from sim_packets import Flow

from ltk.protocol.config import HardNat, P2p, PathPolicy
from ltk.protocol.events import AttemptStarted, PathChanged, PeerRegistered

ATTEMPT = 5.0  # seconds within which an attempt has succeeded or failed
SETTLING = 0.5  # seconds in which the first datagrams on a path are repeated on the relay


def pair(
    one: NatKind | Segment | None = HOME, other: NatKind | Segment | None = HOME, **options: object
) -> tuple[Simulation, Node, Node]:
    """Two clients and a server, introduced to each other and otherwise silent."""
    world = Simulation()
    a, b = world.client("a", one, **options), world.client("b", other, **options)
    world.start()
    world.run(2.0)
    return world, a, b


def straight(world: Simulation, one: Node, other: Node) -> tuple[int, int]:
    """How many datagrams with packets arrived without the server in between, by direction."""
    return world.bulky[one.name, other.name], world.bulky[other.name, one.name]


def assert_relayed(world: Simulation, flow: Flow) -> None:
    """Nothing is lost, nothing went straight, and both sides say so and why."""
    one, other = flow.source, flow.destination
    assert flow.lost == []
    assert straight(world, one, other) == (0, 0)
    for node, peer in ((one, other), (other, one)):
        status = node.status(peer)
        assert status.path == "relay"
        assert len(status.reason.split()) >= 3


def test_two_homes_are_direct_within_a_second_of_the_first_packet_and_lose_nothing() -> None:
    world, a, b = pair()
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 1.0)
    world.run(SETTLING)
    before = straight(world, a, b)
    relayed = a.sent.bulky_to_server + b.sent.bulky_to_server
    world.run(5.0)
    assert flow.stop().lost == []
    assert all(after - one >= 50 for one, after in zip(before, straight(world, a, b), strict=True))
    assert a.sent.bulky_to_server + b.sent.bulky_to_server == relayed


def test_two_homes_are_direct_within_a_second_of_a_cold_start() -> None:
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", HOME)
    world.start()
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 1.0)
    assert flow.stop().lost == []


def test_the_first_echo_after_a_cold_start_takes_two_round_trips_to_the_server_and_two_by_way_of_it() -> None:
    """A session with the server, a channel through it, a session with the other, and the echo itself."""
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", HOME)
    world.start()
    packet = a.send(b, is_ping=True)
    world.run(1.0)
    assert packet.answered_at is not None
    to_server, by_way_of_it = 2 * INTERNET_DELAY, 4 * INTERNET_DELAY
    lans = 0.010
    assert packet.answered_at - packet.sent_at <= 2 * to_server + 2 * by_way_of_it + lans


@pytest.mark.parametrize(
    ("one", "other"), [*combinations_with_replacement((None, *ALL_CLASSES, SEQUENTIAL), 2)], ids=str
)
def test_each_pair_of_nats_is_direct_exactly_where_it_can_be(
    one: NatKind | None, other: NatKind | None
) -> None:
    world, a, b = pair(one, other)
    flow = world.flow(a, b)
    if method(one, other) is not None:
        world.run_until_direct(a, b, ATTEMPT)
        assert flow.stop().lost == []
    else:
        world.run(3 * ATTEMPT)
        assert_relayed(world, flow.stop())


@pytest.mark.parametrize(
    ("other", "hard_nat"),
    [(SYMMETRIC, HardNat.BIRTHDAY), (PORT_RESTRICTED, HardNat.PREDICT), (PORT_RESTRICTED, HardNat.OFF)],
    ids=str,
)
def test_an_impossible_pair_stays_relayed_and_loses_nothing_for_minutes(
    other: NatKind, hard_nat: HardNat
) -> None:
    world, a, b = pair(SYMMETRIC, other, hard_nat=hard_nat)
    flow = world.flow(a, b)
    world.run(180.0)
    assert_relayed(world, flow.stop())
    assert a.status(b).direct_failures >= 3
    for node, peer in ((a, b), (b, a)):
        assert "NAT chooses a port for each destination" in node.status(peer).reason


def test_neighbours_on_a_lan_talk_over_the_lan() -> None:
    world = Simulation()
    lan = world.site(HOME)
    a, b = world.client("a", lan), world.client("b", lan)
    world.start()
    world.run(2.0)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 1.0)
    world.run_until(
        lambda: a.status(b).endpoint == b.endpoint and b.status(a).endpoint == a.endpoint, 3.0, "the LAN"
    )
    world.run(SETTLING)
    world.internet.wire.lose = lambda datagram: True
    since = world.now
    world.run(5.0)
    assert flow.stop().lost_since(since) == []
    assert flow.lost == []
    rtt = a.status(b).rtt
    assert rtt is not None
    assert rtt < 0.005


@pytest.mark.parametrize("hairpins", [True, False])
def test_two_sites_behind_one_carrier_are_direct_where_it_hairpins(hairpins: bool) -> None:
    world = Simulation()
    carrier = world.site(NatKind(HOME.mapping, HOME.filtering, hairpins=hairpins))
    a, b = world.client("a", world.site(HOME, carrier)), world.client("b", world.site(HOME, carrier))
    world.start()
    world.run(2.0)
    flow = world.flow(a, b)
    if hairpins:
        world.run_until_direct(a, b, ATTEMPT)
        assert flow.stop().lost == []
    else:
        world.run(3 * ATTEMPT)
        assert_relayed(world, flow.stop())


def test_every_pair_of_four_clients_becomes_direct() -> None:
    world = Simulation()
    nodes = [world.client(name, HOME) for name in "abcd"]
    world.start()
    world.run(2.0)
    flows = [world.flow(one, other, 0.2) for one in nodes for other in nodes if one.name < other.name]
    for flow in flows:
        world.run_until_direct(flow.source, flow.destination, ATTEMPT)
    assert [flow.stop().lost for flow in flows] == [[]] * 6


def test_an_eager_pair_is_direct_without_a_packet() -> None:
    world = Simulation()
    a, b = (world.client(name, HOME, p2p=P2p.EAGER) for name in "ab")
    world.start()
    world.run_until_direct(a, b, ATTEMPT)


def test_a_pair_on_demand_is_silent_until_there_is_a_packet() -> None:
    world, a, b = pair()
    world.run(120.0)
    assert (a.sent.to_clients, b.sent.to_clients) == (0, 0)
    assert a.status(b).handshake_age is None


@pytest.mark.parametrize(
    "options", [{"p2p": P2p.OFF}, {"path": PathPolicy.RELAY_ONLY}], ids=["p2p=off", "path=relay-only"]
)
def test_a_pair_that_may_not_go_direct_is_relayed_and_sends_no_probe(options: dict[str, object]) -> None:
    world, a, b = pair(**options)
    flow = world.flow(a, b)
    world.run(30.0)
    assert_relayed(world, flow.stop())
    assert (a.sent.to_clients, b.sent.to_clients) == (0, 0)


def test_a_pair_that_may_only_go_direct_never_relays_a_packet() -> None:
    world, a, b = pair(path=PathPolicy.DIRECT_ONLY)
    first = a.send(b)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 1.0)
    world.run(3.0)
    assert first.delivered_at is not None
    assert flow.stop().lost_since(world.now - 4.0) == []
    world.block(a, b)
    world.run(10.0)
    assert (a.sent.bulky_to_server, b.sent.bulky_to_server) == (0, 0)
    assert a.status(b).path == "none"


@pytest.mark.parametrize("one_way", [False, True])
def test_a_path_blocked_from_the_start_is_never_used_in_either_direction(one_way: bool) -> None:
    world, a, b = pair()
    world.block(a, b, one_way=one_way)
    flow = world.flow(a, b)
    world.run(60.0)
    assert_relayed(world, flow.stop())


def test_a_peer_is_registered_before_it_is_probed() -> None:
    world, a, b = pair()
    a.send(b)
    world.run_until_direct(a, b, 1.0)
    for node, peer in ((a, b), (b, a)):
        kinds = [type(event) for _, event in node.events if getattr(event, "peer", None) == peer.name]
        assert kinds.index(PeerRegistered) < kinds.index(AttemptStarted) < kinds.index(PathChanged)


def test_what_two_clients_say_is_sealed_end_to_end_from_the_first_packet() -> None:
    world, a, b = pair(p2p=P2p.OFF)
    packet = a.send(b)
    world.run(1.0)
    assert packet.delivered_at is not None
    assert a.status(b).handshake_age is not None
    assert world.server.status(a).rx_bytes < 100 * len(packet.data)
    spoofed = world.ledger.new(b, a, 100)
    server = world.server.engine
    assert server is not None
    assert server.handle_packet(memoryview(spoofed.data), world.now) is None
    world.server.drain()
    world.run(1.0)
    assert spoofed.delivered_at is None
    assert a.engine is not None
    assert a.engine.drops["source-not-allowed"] == 1
