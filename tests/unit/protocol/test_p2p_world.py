"""The simulated world: its NATs do what RFC 4787 calls them, its checks catch what they are for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from sim import PROOF_LIFETIME, Simulation
from sim_net import (
    ALL_CLASSES,
    FULL_CONE,
    HOME,
    PORT_RESTRICTED,
    SYMMETRIC,
    Clock,
    Datagram,
    Endpoint,
    Filtering,
    Mapping,
    Nat,
    NatKind,
    Segment,
    Wire,
    can_be_direct,
)
from sim_objects import reachable
from sim_packets import PACKET_SIZE, ipv4

INSIDE = Endpoint("192.168.1.10", 5000)
REMOTES = tuple(Endpoint(address, port) for address in ("198.51.100.1", "198.51.100.2") for port in (1, 2))


class Sink:
    """A device that keeps what arrives."""

    def __init__(self) -> None:
        self.got: list[Datagram] = []

    def receive(self, datagram: Datagram) -> None:
        self.got.append(datagram)


class Bench:
    """One NAT with hosts inside and outside of it."""

    def __init__(self, kind: NatKind) -> None:
        self.clock = Clock(seed=1)
        self.internet = Segment(self.clock, Wire(delay=0.01))
        self.nat = Nat(kind, "203.0.113.7", self.internet)
        self.outside = {remote.address: Sink() for remote in REMOTES}
        self.internet.devices.update(self.outside)
        self.host = Sink()
        self.nat.inside.devices[INSIDE.address] = self.host

    def out(self, remote: Endpoint, source: Endpoint = INSIDE) -> Endpoint:
        """Send from inside to a remote; return the source that the remote sees."""
        self.nat.inside.send(Datagram("inside", source, remote, b"x", -math.inf))
        self.settle()
        return self.outside[remote.address].got[-1].source

    def comes_in(self, remote: Endpoint, port: int) -> bool:
        """Send from a remote to a port of the NAT; return whether the host inside got it."""
        before = len(self.host.got)
        self.internet.send(Datagram("remote", remote, Endpoint(self.nat.address, port), b"x", -math.inf))
        self.settle()
        return len(self.host.got) > before

    def settle(self) -> None:
        while self.clock.step(math.inf):
            pass


@pytest.mark.parametrize("kind", ALL_CLASSES, ids=str)
def test_a_nat_maps_and_filters_as_its_class_says(kind: NatKind) -> None:
    bench = Bench(kind)
    ports = [bench.out(remote).port for remote in REMOTES]
    expected = {
        Mapping.ENDPOINT_INDEPENDENT: 1,
        Mapping.ADDRESS_DEPENDENT: 2,
        Mapping.ADDRESS_AND_PORT_DEPENDENT: 4,
    }
    assert len(set(ports)) == expected[kind.mapping]
    fresh = Bench(kind)
    port = fresh.out(REMOTES[0]).port
    allowed = [fresh.comes_in(remote, port) for remote in REMOTES]
    assert (
        allowed
        == {
            Filtering.ENDPOINT_INDEPENDENT: [True, True, True, True],
            Filtering.ADDRESS_DEPENDENT: [True, True, False, False],
            Filtering.ADDRESS_AND_PORT_DEPENDENT: [True, False, False, False],
        }[kind.filtering]
    )


def test_a_nat_preserves_ports_until_two_hosts_want_the_same() -> None:
    bench = Bench(PORT_RESTRICTED)
    neighbour = Endpoint("192.168.1.11", INSIDE.port)
    assert bench.out(REMOTES[0]).port == INSIDE.port
    assert bench.out(REMOTES[0], neighbour).port != INSIDE.port


@pytest.mark.parametrize("hairpins", [True, False])
def test_a_hairpin_reaches_a_neighbour_only_where_the_nat_has_it(hairpins: bool) -> None:
    bench = Bench(NatKind(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT, hairpins=hairpins))
    mapped = bench.out(REMOTES[0])
    neighbour = Endpoint("192.168.1.11", 6000)
    bench.nat.inside.send(Datagram("neighbour", neighbour, mapped, b"x", -math.inf))
    bench.settle()
    assert [datagram.source.address for datagram in bench.host.got] == [bench.nat.address] * hairpins


def test_a_mapping_is_refreshed_by_what_goes_out_and_by_nothing_else() -> None:
    bench = Bench(NatKind(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT, lifetime=30.0))
    port = bench.out(REMOTES[0]).port
    bench.clock.now += 20.0
    bench.out(REMOTES[0])
    bench.clock.now += 20.0
    assert bench.comes_in(REMOTES[3], port)
    bench.clock.now += 11.0
    assert not bench.comes_in(REMOTES[3], port)


@pytest.mark.parametrize(("new_ports", "kept"), [(False, True), (True, False)])
def test_a_flushed_nat_lets_nothing_in_and_may_change_its_ports(new_ports: bool, kept: bool) -> None:
    bench = Bench(FULL_CONE)
    port = bench.out(REMOTES[0]).port
    bench.nat.flush(new_ports=new_ports)
    assert not bench.comes_in(REMOTES[0], port)
    assert (bench.out(REMOTES[0]).port == port) is kept


def test_a_host_behind_two_nats_is_translated_by_both() -> None:
    bench = Bench(HOME)
    inner = Nat(SYMMETRIC, "192.168.1.20", bench.nat.inside)
    inner.inside.devices["10.1.1.1"] = host = Sink()
    inner.inside.send(Datagram("inside", Endpoint("10.1.1.1", 7), REMOTES[0], b"x", -math.inf))
    bench.settle()
    seen = bench.outside[REMOTES[0].address].got[-1].source
    assert seen.address == bench.nat.address
    bench.internet.send(Datagram("remote", REMOTES[0], seen, b"y", -math.inf))
    bench.settle()
    assert [datagram.data for datagram in host.got] == [b"y"]


def test_what_connects_is_symmetric_and_every_class_reaches_a_full_cone() -> None:
    for one in ALL_CLASSES:
        assert can_be_direct(one, FULL_CONE)
        for other in ALL_CLASSES:
            assert can_be_direct(one, other) == can_be_direct(other, one)
    assert can_be_direct(HOME, HOME)
    assert not can_be_direct(SYMMETRIC, PORT_RESTRICTED)


def two_clients(seed: int = 1) -> Simulation:
    world = Simulation(seed)
    world.client("a", HOME)
    world.client("b", HOME)
    world.start()
    return world


def test_pings_between_clients_and_to_the_server_are_answered() -> None:
    world = two_clients()
    a, b = world.clients
    flows = [world.flow(a, b), world.flow(a, world.server), world.flow(b, a)]
    world.run(3.0)
    for flow in flows:
        assert len(flow.stop().packets) > 25
        assert flow.lost == []


def test_the_same_seed_is_the_same_world() -> None:
    def run(seed: int) -> tuple[int, float, list[float | None]]:
        world = two_clients(seed)
        world.internet.wire.loss = 0.2
        world.internet.wire.jitter = 0.05
        world.internet.wire.duplicate = 0.1
        flow = world.flow(*world.clients)
        world.run(20.0)
        return world.steps, world.now, [packet.answered_at for packet in flow.packets]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_a_wire_that_loses_reorders_and_repeats_delivers_nothing_twice() -> None:
    world = two_clients()
    wire = world.internet.wire
    wire.loss, wire.jitter, wire.duplicate = 0.1, 0.3, 0.3
    flow = world.flow(*world.clients)
    world.run(60.0)
    answered = [p.answered_at for p in flow.stop().packets if p.answered_at is not None]
    assert len(answered) > 300
    assert any(later < earlier for earlier, later in pairwise(answered))


def test_an_outage_is_as_long_as_its_pings() -> None:
    world = two_clients()
    a, b = world.clients
    flow = world.flow(a, b)
    world.run(5.0)
    world.internet.wire.lose = lambda datagram: True
    world.run(1.0)
    world.internet.wire.lose = None
    world.run(5.0)
    assert 0.9 <= flow.stop().outage <= 1.2


def test_the_world_notices_what_is_repeated_altered_made_up_or_misdelivered() -> None:
    world = two_clients()
    a, b = world.clients
    sent = world.ledger.new(a, b, PACKET_SIZE)
    with pytest.raises(AssertionError, match="altered"):
        world.ledger.delivered(b, sent.data[:-1] + b"!")
    with pytest.raises(AssertionError, match="was delivered to a"):
        world.ledger.delivered(a, sent.data)
    with pytest.raises(AssertionError, match="nobody sent"):
        world.ledger.delivered(b, ipv4(a.tunnel_address, b.tunnel_address, bytes([255]) * 80))
    world.ledger.delivered(b, sent.data)
    with pytest.raises(AssertionError, match="twice"):
        world.ledger.delivered(b, sent.data)


def test_the_world_notices_data_on_a_path_over_which_nothing_came_back() -> None:
    world = two_clients()
    a, _ = world.clients
    unproven = Endpoint("198.51.100.77", 77)
    data = b"\4".ljust(500, b"\0")
    with pytest.raises(AssertionError, match=r"seed 1, at .*straight to"):
        a.transmit(data, unproven)
    a.proven[unproven] = world.now - PROOF_LIFETIME + 1.0
    a.transmit(data, unproven)


def test_what_an_object_holds_is_found_through_closures_and_bound_methods() -> None:
    secret = bytearray(b"secret")

    class Holder:
        def __init__(self) -> None:
            self.call = lambda: secret
            self.method = [secret].append

    assert any(value is secret for value in reachable(Holder()))
    assert not any(value is secret for value in reachable([Holder]))


def test_an_answer_leaves_by_the_port_at_which_the_question_came_in() -> None:
    bench = Bench(NatKind(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ENDPOINT_INDEPENDENT))
    port = bench.out(REMOTES[0]).port
    assert bench.comes_in(REMOTES[2], port)
    assert bench.out(REMOTES[2]).port == port


def test_a_second_session_with_a_remote_is_shown_from_another_source_and_answered_on_its_own_port() -> None:
    bench = Bench(NatKind(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ENDPOINT_INDEPENDENT))
    port, other = bench.out(REMOTES[0]).port, bench.out(REMOTES[2]).port
    assert bench.comes_in(REMOTES[2], port)
    shown = bench.host.got[-1].source
    assert shown != REMOTES[2]
    bench.nat.inside.send(Datagram("inside", INSIDE, shown, b"x", -math.inf))
    bench.settle()
    answer = bench.outside[REMOTES[2].address].got[-1]
    assert (answer.source.port, answer.destination) == (port, REMOTES[2])
    assert bench.out(REMOTES[2]).port == other
