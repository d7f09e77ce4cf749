"""A network of one shared secret: peers turn up, on both sides and in any order; strangers change nothing."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from rig import digest
from sim import WALL_CLOCK, Node
from sim_net import HOME, SYMMETRIC, Datagram
from sim_secret import SECRET, SUBNET, SecretSimulation, network_of

from ltk.protocol.config import P2p, PeerConfig
from ltk.protocol.cookie import MacWriter
from ltk.protocol.directory import SubnetDirectory
from ltk.protocol.engine import Drop, Endpoint
from ltk.protocol.events import HandshakeUnanswered, Observed, PeerRegistered
from ltk.protocol.messages import Initiation, pack_initiation, pack_timestamp
from ltk.protocol.noise import Initiator
from ltk.protocol.primitives import PrivateKey
from ltk.protocol.shared_secret import SharedSecret

WRONG = b"correct horse battery stapler"
STRANGER = Endpoint("192.0.2.66", 6666)


def peers_of(node: Node) -> list[str]:
    assert node.engine is not None
    return [status.name for status in node.engine.status(node.world.now)]


def two_homes(seed: int = 1) -> tuple[SecretSimulation, Node, Node]:
    world = SecretSimulation(seed)
    return world, world.join(HOME), world.join(HOME)


def test_two_homes_that_nobody_has_configured_become_direct_and_lose_nothing() -> None:
    for seed in range(10):
        world, a, b = two_homes(seed)
        world.start()
        assert peers_of(world.server) == []
        assert peers_of(a) == peers_of(b) == ["server"]
        world.run(1.0)
        assert sorted(peers_of(world.server)) == [a.name, b.name]
        flow = world.flow(a, b)
        world.run_until_direct(a, b, 5.0)
        world.run(5.0)
        assert flow.stop().lost == []
        assert peers_of(b) == ["server", a.name]


def test_hard_nats_are_relayed_and_the_server_has_no_key_of_theirs() -> None:
    world = SecretSimulation()
    a, b = world.join(SYMMETRIC), world.join(SYMMETRIC)
    world.start()
    world.run(1.0)
    flow = world.flow(a, b)
    world.run(20.0)
    assert flow.stop().lost == []
    assert a.status(b).path == b.status(a).path == "relay"


def test_a_client_that_wants_no_direct_paths_is_relayed() -> None:
    world = SecretSimulation()
    a, b = world.join(HOME, p2p=P2p.OFF), world.join(HOME)
    world.start()
    world.run(1.0)
    flow = world.flow(b, a)
    world.run(20.0)
    assert flow.stop().lost == []
    assert a.status(b).path == b.status(a).path == "relay"
    assert a.sent.to_clients == 0


@pytest.mark.parametrize("late", [60.0, 91.0, 3600.0])
def test_the_server_may_start_after_its_clients(late: float) -> None:
    world, a, b = two_homes()
    world.start(a, b)
    world.run(late)
    world.start(world.server)
    # Handshakes are repeated every 5 s for 90 s, and begun again with the next keepalive.
    world.run_until(lambda: a.events_of(Observed) and b.events_of(Observed), 26.0, "both have reached it")
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 5.0)
    assert flow.stop().lost == []


def test_a_client_that_is_awaited_is_reached_once_it_joins() -> None:
    world, a, b = two_homes()
    world.start(world.server, a)
    world.run(1.0)
    waiting = world.flow(a, b, 1.0)
    world.run(30.0)
    world.start(b)
    world.run_until(lambda: a.status(b).path != "none", 6.0, "the next handshake by the relay")
    world.run_until_direct(a, b, 5.0)
    world.run(1.0)
    assert waiting.stop().lost == []  # so few packets have waited that none was dropped


def test_a_server_that_has_forgotten_everything_is_told_again() -> None:
    world, a, b = two_homes()
    world.start()
    world.run(1.0)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 5.0)
    world.server.restart()
    world.run(30.0)
    assert flow.stop().lost == []
    assert sorted(peers_of(world.server)) == [a.name, b.name]


def test_who_has_turned_up_stays_when_the_configuration_changes() -> None:
    world, a, b = two_homes()
    world.start()
    world.run(1.0)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 5.0)
    assert a.engine is not None
    a.engine.configure(world.config_of(a), world.now)
    a.drain()
    world.run(5.0)
    assert flow.stop().lost == []
    assert peers_of(a) == ["server", b.name]
    assert len(a.events_of(PeerRegistered)) == 2


# Strangers.


def test_a_client_with_another_secret_gets_no_answer_and_leaves_no_trace() -> None:
    world = SecretSimulation()
    a = world.join(HOME, WRONG)
    world.start(world.server)
    assert world.server.engine is not None
    before = digest(world.server.engine)
    world.start(a)
    world.run(600.0)
    assert world.arrived[a.name, "server"] > 50, "it has asked"
    assert world.arrived["server", a.name] == 0, "datagrams that the server has answered with"
    assert digest(world.server.engine) == before
    assert [event.peer for _, event in a.events_of(HandshakeUnanswered)] == ["server"] * 6
    assert a.events_of(Observed) == []


def forged(world: SecretSimulation, public: bytes, shared: bytes) -> bytes:
    """An initiation to the server of somebody who knows all public keys and no private one."""

    class Pretender:
        def __init__(self) -> None:
            self.public = public

    server = world.server.keys[1]
    noise = Initiator(Pretender(), server, PrivateKey(world.random.randbytes(32)))  # type: ignore[arg-type]
    parts = noise.write_initiation(shared, pack_timestamp(int((WALL_CLOCK + world.now) * 1e9)))
    return MacWriter(server).write(pack_initiation(Initiation(7, *parts)), world.now)


def test_who_does_not_prove_a_key_becomes_no_peer() -> None:
    world, a, _ = two_homes()
    world.start(world.server)
    engine = world.server.engine
    assert engine is not None
    before = digest(engine)
    data = forged(world, a.keys[1], world.random.randbytes(32))
    assert engine.handle_datagram(memoryview(data), STRANGER, world.now) is Drop.NOT_AUTHENTIC
    assert engine.poll_transmit() is None
    assert peers_of(world.server) == []
    assert digest(engine) == before


def test_a_key_of_no_address_is_nobodys() -> None:
    world, a, _ = two_homes()
    world.start(world.server)
    engine = world.server.engine
    assert engine is not None
    outside = PrivateKey(network_of(SECRET).private_key(IPv4Network("10.0.1.0/24")[7]))
    shared = outside.shared_with(world.server.keys[1])
    data = forged(world, outside.public, shared)
    assert engine.handle_datagram(memoryview(data), STRANGER, world.now) is Drop.UNKNOWN_PEER
    # The same from one of the subnet is an initiation as it should be.
    key = PrivateKey(a.keys[0])
    data = forged(world, key.public, key.shared_with(world.server.keys[1]))
    assert engine.handle_datagram(memoryview(data), STRANGER, world.now) is None
    assert peers_of(world.server) == [a.name]


def test_a_scan_of_the_whole_subnet_makes_no_more_peers_than_it_has_addresses() -> None:
    world, a, _ = two_homes()
    world.start(world.server, a)
    world.run(1.0)
    for number in range(2, 254):
        a.send(Node(world, str(SUBNET[number]), SUBNET[number], world.internet, f"192.0.2.{number}"))
    world.run(200.0)
    assert len(peers_of(a)) == 1 + 252
    assert len(peers_of(world.server)) == 1 + 252  # of those it was asked for, and of nobody else
    assert world.server.sent.to_clients < 252 * 40


# Silence is told, and nothing else is taken for it.


def test_silence_is_told_once_in_each_attempt() -> None:
    world, a, _ = two_homes()
    world.start(a)
    world.run(95.0)
    told = [at - 1000.0 for at, _ in a.events_of(HandshakeUnanswered)]
    assert len(told) == 1
    assert told[0] - a.started + 1000.0 == pytest.approx(5.0, abs=0.4)


def test_a_rekey_whose_first_message_is_lost_is_no_silence() -> None:
    world, a, b = two_homes()
    world.start()
    world.run(1.0)
    flow = world.flow(a, b)
    lost = 0

    def lose(datagram: Datagram) -> bool:
        nonlocal lost
        is_rekey = datagram.data[0] == 1 and datagram.origin == a.name and lost < 1
        lost += is_rekey
        return is_rekey

    world.internet.wire.lose = lose
    world.run(200.0)
    assert lost == 1
    assert flow.stop().lost == []
    assert a.events_of(HandshakeUnanswered) == []


def test_a_server_that_dies_is_told_within_seconds() -> None:
    world, a, _ = two_homes()
    world.start()
    world.run(5.0)
    world.server.stop()
    died = world.now
    world.run(30.0)
    ((told, event),) = a.events_of(HandshakeUnanswered)
    assert event.peer == "server"
    assert told - died < 28.0  # the next keepalive, two seconds of doubt, and a handshake


# The directory.


def test_a_directory_knows_everybody_of_the_largest_subnet_and_no_more() -> None:
    secret = SharedSecret(SECRET, IPv4Network("10.0.0.0/20"))
    like = PeerConfig("", b"")
    directory = SubnetDirectory(secret, like, but={IPv4Network("10.0.0.0/20")[1]})
    last = directory.of_address(IPv4Network("10.0.0.0/20")[4094].packed)
    assert last is not None
    assert (last.name, last.preshared_key) == ("10.0.15.254", secret.preshared_key)
    assert directory.of_key(last.public_key) == last
    for number in (0, 1, 4095, 4096):  # the network's, the one left out, the broadcast address, outside
        assert directory.of_address((IPv4Network("10.0.0.0/8")[number]).packed) is None
    with pytest.raises(ValueError, match="too many addresses"):
        SubnetDirectory(SharedSecret(SECRET, IPv4Network("10.0.0.0/19")), like, but=())
