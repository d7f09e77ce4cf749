"""Clients and server find each other in any order, through any loss, for as long as it takes."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from sim import PORT, Node, Simulation
from sim_curve import use_toy_curve
from sim_glass import Glass
from sim_net import HOME, SYMMETRIC, Datagram, NatKind

from ltk.protocol.events import NatClassified, Observed
from ltk.protocol.frames import NatMapping
from ltk.protocol.messages import FrameKind

ORDERS = int(os.environ.get("LTK_ORDERS", "1000"))  # a release tries ten thousand
CONTROL = tuple(FrameKind)
ANNOUNCE_CAP = 32.0  # seconds between announcements that are not acknowledged, at most
ANNOUNCE_EVERY = 60.0  # seconds between those that are
JITTER = 0.1  # of either


@pytest.fixture
def glass(monkeypatch: pytest.MonkeyPatch) -> Glass:
    return Glass(monkeypatch)


def two_homes(seed: int = 1) -> tuple[Simulation, Node, Node]:
    world = Simulation(seed)
    return world, world.client("a", HOME), world.client("b", HOME)


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "frames", [*({kind} for kind in FrameKind if kind != FrameKind.GOODBYE), set(CONTROL)]
)
def test_the_first_control_messages_may_be_lost(glass: Glass, frames: set[FrameKind], lost: int) -> None:
    world, a, b = two_homes()
    remaining = lost

    def lose(datagram: Datagram) -> bool:
        nonlocal remaining
        if remaining == 0 or glass.frame(datagram.data) not in frames:
            return False
        remaining -= 1
        return True

    world.internet.wire.lose = lose
    world.start()
    world.run(1.0)
    flow = world.flow(a, b, 0.5)  # few enough to wait for a channel that is asked for five times in vain
    world.run_until_direct(a, b, 100.0)
    world.run(2.0)
    assert flow.stop().lost == []


def test_the_first_datagrams_of_any_kind_may_be_lost() -> None:
    for lost in range(1, 6):
        world, a, b = two_homes(lost)
        remaining = {"a": lost, "b": lost, "server": lost}

        def lose(datagram: Datagram, remaining: dict[str, int] = remaining) -> bool:
            remaining[datagram.origin] -= 1
            return remaining[datagram.origin] >= 0

        world.internet.wire.lose = lose
        world.start()
        flow = world.flow(a, b)
        world.run_until_direct(a, b, 100.0)
        since = world.now
        world.run(5.0)
        assert flow.stop().lost_since(since) == []


@pytest.mark.parametrize("seed", range(5))
def test_every_pair_becomes_direct_through_forty_percent_loss(seed: int) -> None:
    world = Simulation(seed)
    nodes = [world.client(name, HOME) for name in "abc"]
    world.internet.wire.loss = 0.4
    world.start()
    flows = [world.flow(one, other, 0.2) for one in nodes for other in nodes if one.name < other.name]
    for flow in flows:
        world.run_until_direct(flow.source, flow.destination, 120.0)


def test_a_server_that_starts_ninety_seconds_late_needs_no_help() -> None:
    world, a, b = two_homes()
    world.start(a, b)
    flow = world.flow(a, b)
    world.run(90.0)
    world.start(world.server)
    world.run_until_direct(a, b, 30.0)
    since = world.now
    world.run(5.0)
    assert flow.stop().lost_since(since) == []


def test_a_client_that_starts_late_is_reached_by_one_that_has_asked_for_it() -> None:
    world, a, b = two_homes()
    world.start(world.server, a)
    world.flow(a, b)
    world.run(100.0)
    world.start(b)
    world.run_until_direct(a, b, 70.0)


@pytest.mark.parametrize("later", [0.0, 0.1, 0.2, 0.3])
def test_two_clients_that_restart_one_after_the_other_are_direct_a_second_later(later: float) -> None:
    """What the first one asks for reaches the second one's old port, where nobody listens any more."""
    world, a, b = two_homes()
    world.start()
    flow = world.flow(a, b, 0.02)
    world.run_until_direct(a, b, 5.0)
    a.restart(down=0.1)
    b.restart(port=PORT + 1, down=0.1 + later)
    world.run(0.1 + later)
    since = world.now
    world.run_until_direct(a, b, 1.0)
    assert flow.stop().lost_since(since) == []


def test_a_server_that_lost_its_memory_introduces_clients_that_were_silent() -> None:
    world, a, b = two_homes()
    world.start()
    world.run(30.0)
    world.server.restart()
    world.run(ANNOUNCE_EVERY * (1 + JITTER) + 10.0)
    world.flow(a, b)
    world.run_until_direct(a, b, 5.0)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.3, 0.5, 1.0, 3.0])
def test_no_delay_of_the_servers_words_to_one_side_makes_a_difference(glass: Glass, delay: float) -> None:
    world, a, b = two_homes()
    world.start()
    world.run(2.0)

    def hold(datagram: Datagram) -> float:
        to_b = datagram.origin == "server" and datagram.destination.address == b.public_address
        return delay if to_b and glass.frame(datagram.data) is not None else 0.0

    world.internet.wire.hold = hold
    flow = world.flow(a, b)
    world.run_until_direct(a, b, 15.0)
    world.run(2.0)
    assert flow.stop().lost == []


def test_shuffled_orders_of_control_messages_all_end_direct(
    glass: Glass, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_toy_curve(monkeypatch)
    delays = (0.0, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    for seed in range(ORDERS):
        world, a, b = two_homes(seed)
        choose = world.random.choice
        world.internet.wire.hold = lambda datagram, choose=choose: (
            0.0 if glass.frame(datagram.data) is None else choose(delays)
        )
        world.start()
        packets = [a.send(b), b.send(a)]
        world.run_until_direct(a, b, 12.0)
        for packet in packets:
            world.check(packet.delivered_at is not None, "the first packet was lost")
        glass.forget()


def gaps_of(world: Simulation, seen: list[tuple[float, str, FrameKind]], origin: str) -> list[float]:
    times = [at for at, whose, _ in seen if whose == origin]
    return [later - earlier for earlier, later in pairwise(times)]


def test_announcements_that_nobody_acknowledges_grow_apart_up_to_the_cap_for_ever(glass: Glass) -> None:
    world, _, _ = two_homes()
    world.internet.wire.lose = lambda datagram: glass.frame(datagram.data) == FrameKind.ANNOUNCE_ACK
    seen = glass.record(world, FrameKind.ANNOUNCE)
    world.start()
    world.run(3.0)
    start = len([at for at, whose, _ in seen if whose == "a"])
    world.run(1200.0)
    gaps = gaps_of(world, seen, "a")[start:]
    # A rekey announces at once, which the cap does not bound from below; it bounds every gap from above.
    assert max(gaps) <= ANNOUNCE_CAP * (1 + JITTER) + 0.01
    assert sum(gap >= ANNOUNCE_CAP * (1 - JITTER) - 0.01 for gap in gaps) >= 0.3 * len(gaps)
    assert len(set(gaps)) > len(gaps) / 2


def test_the_first_announcements_are_one_two_four_seconds_apart(glass: Glass) -> None:
    world, _, _ = two_homes()
    world.internet.wire.lose = lambda datagram: glass.frame(datagram.data) == FrameKind.ANNOUNCE_ACK
    seen = glass.record(world, FrameKind.ANNOUNCE)
    world.start()
    world.run(100.0)
    gaps = [gap for gap in gaps_of(world, seen, "a") if gap > 0.5]  # new candidates announce at once
    for gap, expected in zip(gaps[:6], (1, 2, 4, 8, 16, 32), strict=True):
        assert gap == pytest.approx(expected, rel=JITTER + 0.01)


def test_an_acknowledged_announcement_is_repeated_every_minute(glass: Glass) -> None:
    world, _, _ = two_homes()
    seen = glass.record(world, FrameKind.ANNOUNCE)
    world.start()
    world.run(3.0)
    start = len([at for at, whose, _ in seen if whose == "a"]) - 1
    world.run(1200.0)
    gaps = gaps_of(world, seen, "a")[start:]
    assert max(gaps) <= ANNOUNCE_EVERY * (1 + JITTER) + 0.1
    assert 1200 / 70 <= len(gaps) <= 1200 / 30


@pytest.mark.parametrize(
    ("kind", "mapping"),
    [
        (None, NatMapping.NONE),
        (HOME, NatMapping.ENDPOINT_INDEPENDENT),
        (SYMMETRIC, NatMapping.ADDRESS_AND_PORT_DEPENDENT),
    ],
)
def test_a_client_learns_how_its_nat_maps(kind: NatKind | None, mapping: NatMapping) -> None:
    world = Simulation()
    a = world.client("a", kind)
    world.internet.wire.loss = 0.3
    world.start()
    world.run(60.0)
    assert a.events_of(NatClassified)[-1][1].nat.mapping == mapping
    assert a.events_of(Observed)[-1][1].endpoint.address == a.public_address


def test_what_server_and_client_say_does_not_grow_with_idle_pairs() -> None:
    def talk(clients: int) -> float:
        world = Simulation()
        nodes = [world.client(f"c{number}", HOME) for number in range(clients)]
        world.start()
        world.run(2.0)
        for one in nodes:
            for other in nodes:
                if one is not other:
                    one.send(other)
        for one in nodes:
            for other in nodes:
                world.run_until(lambda a=one, b=other: a is b or a.is_direct(b), 20.0, "a direct path")
        world.run(120.0)
        before = world.arrived["c0", "server"] + world.arrived["server", "c0"]
        world.run(300.0)
        return world.arrived["c0", "server"] + world.arrived["server", "c0"] - before

    few, many = talk(2), talk(7)
    assert 0 < many <= 1.25 * few + 4
