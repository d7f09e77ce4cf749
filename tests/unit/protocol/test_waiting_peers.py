"""Clients that nobody speaks to: known, shown and reached as others are, but no peers without a reason."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from rig import A, B, Node, World, packet

from ltk.protocol.engine import Drop, P2p, PeerConfig, PeerKind
from ltk.protocol.events import PeerRegistered
from ltk.protocol.primitives import public_key_of

MANY = 50


def others(world: World, count: int = MANY) -> tuple[PeerConfig, ...]:
    return tuple(
        PeerConfig(
            name=f"c{number}",
            public_key=public_key_of(world.private_key()),
            allowed_ips=(ip_network(f"10.0.1.{number}/32"),),
            kind=PeerKind.CLIENT,
        )
        for number in range(count)
    )


def client(world: World, *peers: PeerConfig) -> Node:
    server = PeerConfig(
        name="server",
        public_key=public_key_of(world.private_key()),
        endpoint=B,
        allowed_ips=(ip_network("10.0.0.0/16"),),
        keepalive=20.0,
        kind=PeerKind.SERVER,
    )
    return world.add("a", A, world.private_key(), server, *peers, addresses=("10.0.0.1",))


def awake(node: Node) -> list[str]:
    return [peer.config.name for peer in node.engine._peers.values()]


def test_of_many_clients_the_server_alone_is_a_peer_at_first(world: World) -> None:
    peers = others(world)
    node = client(world, *peers)
    assert awake(node) == ["server"]
    names = ["server", *(peer.name for peer in peers)]
    assert [event.peer for _, event in node.events_of(PeerRegistered)] == names
    assert [status.name for status in node.engine.status(world.now)] == names
    assert [status.name for status in node.engine.status(world.now, waiting=False)] == ["server"]
    assert node.status("c7").path == "none"
    assert node.engine.status_of("c7", world.now) == node.status("c7")
    assert node.engine.why(peers[7].public_key, world.now) == ()
    assert awake(node) == ["server"], "looking makes nobody a peer"


def test_a_packet_makes_a_peer_of_whom_it_is_for_and_of_nobody_else(world: World) -> None:
    node = client(world, *others(world))
    assert node.send(packet("10.0.0.1", "10.0.1.7")) is None
    assert awake(node) == ["server", "c7"]
    assert node.status("c7").staged == 1
    assert node.send(packet("10.0.0.1", "10.0.1.7")) is None
    assert node.status("c7").staged == 2
    assert len(node.events_of(PeerRegistered)) == 1 + MANY


@pytest.mark.parametrize("changes", [{"p2p": P2p.EAGER}, {"keepalive": 5.0}])
def test_a_peer_that_is_owed_something_does_not_wait(world: World, changes: dict[str, object]) -> None:
    first, second = others(world, 2)
    node = client(world, first, replace(second, **changes))
    assert awake(node) == ["server", "c1"]
    node.configure_peer("c0", **changes)
    assert sorted(awake(node)) == ["c0", "c1", "server"]
    assert len(node.events_of(PeerRegistered)) == 3


def test_who_waits_may_change_and_go(world: World) -> None:
    node = client(world, *others(world, 2))
    node.configure_peer("c0", allowed_ips=(ip_network("10.0.1.9/32"),))
    assert awake(node) == ["server"]
    assert node.send(packet("10.0.0.1", "10.0.1.9")) is None
    assert awake(node) == ["server", "c0"]
    node.configure(peers=node.config.peers[:2])
    assert [status.name for status in node.engine.status(world.now)] == ["server", "c0"]
    assert node.engine.status_of("c1", world.now) is None


def test_who_wakes_takes_no_address_that_another_has(world: World) -> None:
    first, second = others(world, 2)
    node = client(world, replace(first, allowed_ips=(*first.allowed_ips, *second.allowed_ips)), second)
    assert node.send(packet("10.0.0.1", "10.0.1.0")) is None
    assert node.send(packet("10.0.0.1", "10.0.1.1")) is None
    assert (node.status("c0").staged, node.status("c1").staged) == (1, 1)


def test_a_client_that_becomes_the_server_has_all_its_peers(world: World) -> None:
    node = client(world, *others(world, 2))
    node.configure(forward=True)
    assert sorted(awake(node)) == ["c0", "c1", "server"]
    assert node.send(packet("10.0.0.1", "10.0.1.1")) is Drop.NO_ENDPOINT
