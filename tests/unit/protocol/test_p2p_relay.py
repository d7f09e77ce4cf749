"""The relay is blind and strict: it holds no key, serves none but the owner, and strangers change nothing."""

from __future__ import annotations

import pytest
from sim import Node, Simulation
from sim_net import HOME, SYMMETRIC, Datagram
from sim_objects import reachable
from sim_packets import BULKY

from ltk.protocol.engine import Endpoint
from ltk.protocol.primitives import Aead

RELAYED = 0x80
NOTICE_SIZE = 8  # bytes
STRANGER = Endpoint("192.0.2.66", 6666)


def relayed_pair(**options: bool) -> tuple[Simulation, Node, Node]:
    """Two clients that can only talk through the server."""
    world = Simulation(**options)
    a, b = world.client("a", SYMMETRIC), world.client("b", SYMMETRIC)
    world.start()
    world.run(1.0)
    return world, a, b


def direct_pair() -> tuple[Simulation, Node, Node]:
    """Two clients that talk directly."""
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", HOME)
    world.start()
    world.run(1.0)
    a.send(b)
    world.run_until_direct(a, b, 5.0)
    world.run(1.0)
    return world, a, b


class Stranger:
    """A third host that keeps what it is sent."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.got: list[bytes] = []
        world.internet.devices[STRANGER.address] = self

    def receive(self, datagram: Datagram) -> None:
        self.got.append(datagram.data)

    def send(self, destination: Endpoint, data: bytes) -> None:
        """Send from the stranger's own address, past the wire's tricks."""
        datagram = Datagram("stranger", STRANGER, destination, data, float("-inf"))
        self.world.after(0.0, self.world.internet.devices[destination.address].receive, datagram)


def views(world: Simulation, a: Node, b: Node) -> list[object]:
    """What three engines say of each other, except counts of bytes and times."""
    return [
        (status.path, status.endpoint, status.sessions, status.switches)
        for node, peer in ((a, b), (b, a), (world.server, a), (world.server, b))
        for status in [node.status(peer)]
    ]


def test_the_server_holds_no_key_of_a_session_between_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[int, tuple[object, bytes]] = {}
    make = Aead.__init__

    def noting(self: Aead, key: bytes) -> None:
        make(self, key)
        keys[id(self._cipher)] = (self._cipher, bytes(key))

    monkeypatch.setattr(Aead, "__init__", noting)
    world, a, b = relayed_pair()
    flow = world.flow(a, b)
    world.run(5.0)
    assert flow.stop().lost == []

    def held(node: Node) -> tuple[set[bytes], bytes]:
        """The keys of the ciphers that an engine holds, and all its strings of bytes."""
        ciphers, strings = set(), bytearray()
        for value in reachable(node.engine):
            if id(value) in keys and value is keys[id(value)][0]:
                ciphers.add(keys[id(value)][1])
            elif isinstance(value, bytes | bytearray):
                strings += value
        return ciphers, bytes(strings)

    server_keys, server_strings = held(world.server)
    end_to_end = held(a)[0] & held(b)[0]
    with_server = held(a)[0] & server_keys
    assert len(end_to_end) >= 2
    assert len(with_server) >= 2
    assert not end_to_end & server_keys
    for key in end_to_end:
        assert key not in server_strings


def test_a_relayed_packet_with_one_flipped_bit_is_dropped() -> None:
    world, a, b = relayed_pair()
    a.send(b)
    world.run(2.0)
    flipped = 0
    carry = world.internet.carry

    def tamper(datagram: Datagram) -> None:
        nonlocal flipped
        data = datagram.data
        if datagram.origin == "server" and data[0] == RELAYED and len(data) >= BULKY:
            flipped += 1
            position = world.random.randrange(8 + 4, len(data))
            changed = bytearray(data)
            changed[position] ^= 1 << world.random.randrange(8)
            datagram = datagram._replace(data=bytes(changed))
        carry(datagram)

    world.internet.carry = tamper
    packets = [a.send(b) for _ in range(50)]
    world.run(1.0)
    assert flipped == 50
    assert [packet.delivered_at for packet in packets] == [None] * 50
    world.internet.carry = carry
    flow = world.flow(a, b)
    world.run(2.0)
    assert flow.stop().lost == []


def test_a_relayed_datagram_from_elsewhere_gets_eight_bytes_and_goes_nowhere() -> None:
    world, a, b = relayed_pair()
    seen: list[bytes] = []
    a.on_transmit = lambda data, destination: seen.append(data)
    a.send(b)
    world.run(2.0)
    relayed = [data for data in seen if data[0] == RELAYED and len(data) >= BULKY]
    assert relayed
    stranger = Stranger(world)
    before, arrived = views(world, a, b), world.arrived["server", "b"]
    stranger.send(world.server.endpoint, relayed[0])
    world.run(0.2)
    assert [len(data) for data in stranger.got] == [NOTICE_SIZE]
    assert stranger.got[0] == relayed[0][:NOTICE_SIZE]
    assert world.arrived["server", "b"] == arrived
    assert views(world, a, b) == before


def test_notices_are_few_however_many_ask_for_them() -> None:
    world, *_ = relayed_pair()
    stranger = Stranger(world)
    asked = 2000
    for number in range(asked):
        data = bytes((RELAYED, 0, 0, 0)) + number.to_bytes(4, "little") + bytes(40)
        stranger.send(world.server.endpoint, data)
    world.run(1.0)
    assert 0 < len(stranger.got) <= asked / 10
    assert {len(data) for data in stranger.got} == {NOTICE_SIZE}


def test_a_notice_from_anybody_but_the_server_changes_nothing() -> None:
    world, a, b = relayed_pair()
    seen: list[bytes] = []
    a.on_transmit = lambda data, destination: seen.append(data)
    flow = world.flow(a, b)
    world.run(2.0)
    channel = next(data[:NOTICE_SIZE] for data in seen if data[0] == RELAYED)
    stranger = Stranger(world)
    nat = a.segment.gateway
    assert nat is not None
    for _ in range(20):
        a.receive(Datagram("stranger", STRANGER, a.endpoint, channel, float("-inf")))
    sent = a.sent.to_server
    world.run(0.05)
    assert a.sent.to_server - sent <= 4
    assert stranger.got == []
    assert flow.stop().lost == []


def test_recorded_and_forged_datagrams_from_a_third_host_change_nothing() -> None:
    world, a, b = direct_pair()
    recorded: list[bytes] = []
    a.on_transmit = b.on_transmit = lambda data, destination: recorded.append(data)
    flow = world.flow(a, b)
    world.run(5.0)
    stranger = Stranger(world)
    before = views(world, a, b)
    for data in recorded[:200]:
        forged = bytearray(data)
        forged[-1] ^= 1
        for node in (a, b):
            for what in (data, bytes(forged)):
                node.receive(Datagram("stranger", STRANGER, node.endpoint, what, float("-inf")))
    world.run(5.0)
    assert flow.stop().lost == []
    assert views(world, a, b) == before
    assert stranger.got == []
    assert STRANGER not in a.candidates(b)


def test_an_authentic_datagram_that_a_third_host_passes_on_moves_no_data_there() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    Stranger(world)
    carry = world.internet.carry

    def divert(datagram: Datagram) -> None:
        """What a sends straight to b arrives from the stranger, ahead of everything else."""
        if datagram.origin == "a" and datagram.destination.address == b.public_address:
            b.receive(Datagram("stranger", STRANGER, b.endpoint, datagram.data, float("-inf")))
        else:
            carry(datagram)

    world.internet.carry = divert
    world.run(10.0)
    assert b.status(a).endpoint != STRANGER
    world.internet.carry = carry
    world.run_until_direct(a, b, 90.0)
    since = world.now
    world.run(2.0)
    assert flow.stop().lost_since(since) == []
    assert a.status(b).endpoint != STRANGER
    assert b.status(a).endpoint != STRANGER


@pytest.mark.parametrize("clients_know", [False, True])
def test_an_isolating_server_opens_no_way_between_clients(
    clients_know: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Simulation(isolation=True)
    a, b = world.client("a", HOME), world.client("b", HOME)
    if clients_know:
        configure = world.config_of

        def disobedient(node: Node):
            world.isolation = node is world.server
            return configure(node)

        monkeypatch.setattr(world, "config_of", disobedient)
    world.start()
    world.run(2.0)
    packets = [a.send(b), b.send(a)]
    to_server = a.send(world.server, is_ping=True)
    world.run(60.0)
    assert [packet.delivered_at for packet in packets] == [None, None]
    assert (a.sent.to_clients, b.sent.to_clients) == (0, 0)
    assert to_server.answered_at is not None


def test_recovering_from_a_flush_takes_a_relayed_owner_one_round_trip() -> None:
    world, a, b = relayed_pair()
    flow = world.flow(b, a, 0.02)
    world.run(5.0)
    assert flow.lost_since(world.now - 1.0)[:-10] == []
    nat = b.segment.gateway
    assert nat is not None
    notices: list[bytes] = []
    wire = world.internet.wire

    def look(datagram: Datagram) -> bool:
        if datagram.origin == "server" and len(datagram.data) == NOTICE_SIZE:
            notices.append(datagram.data)
        return False

    wire.lose = look
    nat.flush(new_ports=True)
    world.run(3.0)
    assert notices
    assert flow.stop().outage <= 0.25
