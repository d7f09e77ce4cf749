"""A client whose UDP does not get through reaches its server over TCP, and returns to UDP when that works."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sim import Node, Simulation
from sim_net import HOME, SYMMETRIC, Datagram

from ltk.protocol.config import TransportMode
from ltk.protocol.drops import Drop
from ltk.protocol.events import HandshakeGaveUp, TransportChanged

HOUR = 3600.0  # seconds
BACK_WITHIN = 31.5  # seconds: asked every 30 s, and answered in two steps


def pair_without_udp(**options: object) -> tuple[Simulation, Node, Node]:
    """Two clients, of which the first one's UDP goes nowhere, up for five seconds."""
    world = Simulation()
    a, b = world.client("a", HOME, **options), world.client("b", HOME)
    block_udp(world, a)
    world.start()
    return world, a, b


def block_udp(world: Simulation, *clients: Node) -> None:
    """Let no datagram of these clients' pass the internet, in either direction."""
    names = {client.public_address for client in clients}

    def lost(datagram: Datagram) -> bool:
        return bool({datagram.source.address, datagram.destination.address} & names)

    world.internet.wire.lose = lost if names else None


def transport(node: Node) -> str:
    assert node.engine is not None
    return node.engine.node_status().transport


def changes(node: Node) -> list[tuple[float, str]]:
    """When the node said that it reaches the server otherwise, and how."""
    return [(round(at, 1), event.transport) for at, event in node.events_of(TransportChanged)]


def test_three_seconds_without_an_answer_over_udp_lead_to_tcp() -> None:
    world, a, b = pair_without_udp()
    took = world.run_until(lambda: transport(a) == "tcp", 5.0, "TCP")
    assert 3.0 <= took <= 3.3, f"it took {took:.3f} s"
    flow = world.flow(a, b)
    world.run(10.0)
    assert not flow.stop().lost, "both directions work, one of them over TCP and the other over UDP"
    assert a.status(b).path == "relay"
    assert "over TCP, UDP gets no answer" in a.status(b).reason
    assert a.status(world.server).path == "direct"
    assert transport(b) == "udp"
    assert not [each for each in world.streams.all if each.client is b]


def test_who_reaches_the_server_by_udp_opens_no_stream() -> None:
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", SYMMETRIC)
    world.start()
    flow = world.flow(a, b)
    world.run(HOUR)
    assert not flow.stop().lost
    assert not world.streams.all


def test_udp_that_is_blocked_later_costs_seconds_and_is_used_again_once_it_opens() -> None:
    world = Simulation()
    a, b = world.client("a", SYMMETRIC), world.client("b", SYMMETRIC)
    world.start()
    flow = world.flow(a, b)
    world.run(300.0)
    block_udp(world, a)
    blocked = world.now
    world.run_until(lambda: transport(a) == "tcp", 6.0, "TCP")
    world.run(60.0)
    assert not flow.lost_since(blocked + 6.0)[:-2], "from then on nothing is lost"
    block_udp(world)
    opened = world.now
    world.run_until(lambda: transport(a) == "udp", BACK_WITHIN, "UDP again")
    world.run(60.0)
    assert not flow.stop().lost_since(opened), "nothing is lost on the way back"
    assert [how for _, how in changes(a)] == ["tcp", "udp"]
    assert not world.streams.open, "the stream is closed at both ends"


def test_a_way_that_works_in_one_direction_only_is_not_returned_to() -> None:
    world, a, b = pair_without_udp()
    world.run(5.0)
    address = a.public_address
    world.internet.wire.lose = lambda datagram: datagram.destination.address == address
    flow = world.flow(b, a)
    world.run(600.0)
    assert changes(a)[1:] == [], "it left TCP, though nothing comes back by UDP"
    assert transport(a) == "tcp"
    assert not flow.stop().lost, "the server has not taken the client to be where nothing arrives"


def test_udp_that_is_blocked_for_hours_is_asked_for_every_half_minute() -> None:
    world, a, b = pair_without_udp()
    world.run(5.0)
    asked: list[float] = []
    server = world.server.endpoint

    def note(data: bytes, to: object) -> None:
        if to == server:
            asked.append(world.now)

    a.on_transmit = note
    flow = world.flow(a, b, every=1.0)
    world.run(4 * HOUR)
    assert not flow.stop().lost
    assert [how for _, how in changes(a)] == ["tcp"]
    assert len(asked) <= 5 * 4 * HOUR / 30.0 + 5, "five small requests each half minute, and no more"
    assert len(asked) >= 4 * HOUR / 30.0, "it is never given up"
    assert len(world.streams.all) == 1, "one stream has carried it all"


@pytest.mark.parametrize("quiet", [False, True])
def test_a_server_that_restarts_is_found_again_over_tcp(quiet: bool) -> None:
    world, a, b = pair_without_udp()
    world.run(10.0)
    flow = None if quiet else world.flow(a, b)
    world.run(5.0)
    world.server.restart(down=5.0)
    back = world.now + 5.0
    world.run_until(
        lambda: world.now > back and bool(world.streams.open) and a.status(world.server).sessions > 0,
        20.0,
        "a stream to the new server",
    )
    world.run(10.0)
    check = world.flow(a, b)
    world.run(5.0)
    assert not check.stop().lost
    assert transport(a) == "tcp"
    if flow is not None:
        assert not flow.stop().lost_since(back + 6.0)


def test_a_stream_that_is_reset_is_opened_again_at_once() -> None:
    world, a, b = pair_without_udp()
    world.run(15.0)
    flow = world.flow(a, b)
    world.run(1.0)
    world.streams.reset(a)
    world.run(5.0)
    assert flow.stop().outage <= 0.5, f"it was {flow.outage:.1f} s"
    assert transport(a) == "tcp"


def test_a_stream_that_dies_without_a_word_is_replaced() -> None:
    world, a, b = pair_without_udp()
    world.run(15.0)
    flow = world.flow(a, b)
    world.run(1.0)
    world.streams.silent.add("a")
    world.run(30.0)
    world.streams.silent.clear()
    opened = world.now
    world.run(60.0)
    assert not flow.stop().lost_since(opened + 31.0)


def test_streams_that_end_as_soon_as_they_are_used_are_opened_less_and_less() -> None:
    world, a, _ = pair_without_udp()
    world.run(5.0)

    def reset() -> None:
        world.streams.reset(a)
        world.after(1.0, reset)

    reset()
    world.run(600.0)
    assert len(world.streams.all) <= 60, f"{len(world.streams.all)} streams in ten minutes"


def test_without_udp_and_tcp_nothing_is_flooded_and_either_is_found_when_it_opens() -> None:
    world, a, _b = pair_without_udp()
    world.streams.blocked.add("a")
    world.run(600.0)
    assert not world.streams.open
    assert len(world.streams.all) <= 40
    assert a.status(world.server).reason == "none: no handshake has been completed; TCP does not connect"
    world.streams.blocked.clear()
    world.run_until(lambda: transport(a) == "tcp", 60.0, "TCP, once it is open")


def test_tcp_alone_sends_no_datagram_and_is_enough() -> None:
    world = Simulation()
    a, b = world.client("a", HOME, transport=TransportMode.TCP), world.client("b", HOME)
    world.start()
    world.run(1.0)
    assert transport(a) == "tcp"
    assert a.sent.to_server == 0, "not one datagram by UDP"
    flow = world.flow(a, b)
    world.run(60.0)
    assert not flow.stop().lost


def test_udp_alone_opens_no_stream_and_says_why_there_is_no_tunnel() -> None:
    world, a, _ = pair_without_udp(transport=TransportMode.UDP)
    world.run(200.0)
    assert not world.streams.all
    assert a.events_of(HandshakeGaveUp)
    assert a.status(world.server).path == "none"
    assert a.status(world.server).reason == "none: no handshake has been completed; TCP is not allowed"


def test_two_clients_over_tcp_talk_through_the_server() -> None:
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", SYMMETRIC)
    block_udp(world, a, b)
    world.start()
    world.run(5.0)
    flow = world.flow(a, b)
    world.run(60.0)
    assert not flow.stop().lost
    assert transport(a) == transport(b) == "tcp"
    assert a.status(b).path == "relay"


def test_a_direct_path_between_clients_needs_no_udp_to_the_server() -> None:
    world = Simulation()
    a, b = world.client("a"), world.client("b")
    servers = world.server.address
    world.internet.wire.lose = lambda each: servers in (each.source.address, each.destination.address)
    world.start()
    world.run(5.0)
    a.send(b)
    world.run_until_direct(a, b, 10.0)
    assert transport(a) == transport(b) == "tcp"
    world.run(60.0)
    flow = world.flow(a, b)
    world.run(10.0)
    assert not flow.stop().lost
    assert a.is_direct(b)


def test_under_load_a_client_over_tcp_gets_in_by_its_cookie() -> None:
    world = Simulation()
    a = world.client("a", HOME)
    block_udp(world, a)
    world.start()
    assert world.server.engine is not None
    world.server.engine._load = SimpleNamespace(note=lambda _now: True)
    world.run_until(lambda: transport(a) == "tcp", 12.0, "TCP")
    assert len(world.streams.all) == 1
    assert world.server.engine.drops[Drop.COOKIE_DEMANDED] >= 1


def test_udp_that_loses_much_is_used_whenever_it_answers_and_pairs_are_direct_by_it() -> None:
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", HOME)
    world.internet.wire.loss = 0.4
    world.start()
    a.send(b)
    world.run_until_direct(a, b, 120.0)
    world.run_until(lambda: transport(a) == transport(b) == "udp", 120.0, "UDP")
