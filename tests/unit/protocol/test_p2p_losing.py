"""A direct path dies, and comes back: what the packets notice, and what it costs."""

from __future__ import annotations

import pytest
from sim import Node, Simulation
from sim_net import HOME, SYMMETRIC, NatKind
from sim_objects import reachable

from ltk.protocol.engine import Endpoint
from ltk.protocol.events import PathChanged

OUTAGE = 1.5  # seconds, from the cut of a path that carries data to the relay
OUTAGE_OF_ANSWERS = 1.2  # seconds: one side finds out after at most 1 s, and the other hears of it by then
BACK_OFF = 66.0  # seconds between attempts at most, jitter included
ATTEMPT = 5.0  # seconds
HOLD_DOWN = 66.0  # seconds for which a path that fails often is not used, at most
MEMORY = 30.0  # seconds: NATs may forget a mapping sooner than any default


def direct_pair(kind: NatKind = HOME, *, others: int = 0, seed: int = 1) -> tuple[Simulation, Node, Node]:
    """Two clients that talk directly, and `others` that say nothing."""
    world = Simulation(seed)
    a, b = world.client("a", kind), world.client("b", kind)
    for number in range(others):
        world.client(f"c{number}", kind)
    world.start()
    world.run(1.0)
    a.send(b)
    world.run_until_direct(a, b, ATTEMPT)
    world.run(1.0)
    return world, a, b


def relayed_pair() -> tuple[Simulation, Node, Node]:
    """Two clients that cannot talk directly, and do not try at the moment."""
    world = Simulation()
    a, b = world.client("a", SYMMETRIC), world.client("b", SYMMETRIC)
    world.start()
    world.run(1.0)
    a.send(b)
    world.run(10.0)
    assert a.status(b).path == "relay"
    return world, a, b


@pytest.mark.parametrize("one_way", [False, True])
def test_a_cut_path_costs_less_than_one_and_a_half_seconds_and_then_the_relay_has_it(one_way: bool) -> None:
    world, a, b = direct_pair()
    flows = world.flow(a, b), world.flow(b, a)
    world.run(5.0)
    world.block(a, b, one_way=one_way)
    world.run(OUTAGE)
    since = world.now
    world.run(5.0)
    for flow in flows:
        assert flow.stop().outage <= OUTAGE
        assert flow.lost_since(since) == []
    assert not a.is_direct(b)
    assert not b.is_direct(a)
    assert "relay" in (a.status(b).path, b.status(a).path)


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_a_cut_path_costs_those_who_only_answer_no_more(moment: float) -> None:
    """Who hears nothing has nothing to answer, and must not take as long again to find out."""
    world, a, b = direct_pair()
    flow = world.flow(a, b, 0.02)
    world.run(5.0 + moment)  # since the last probe, whenever that was
    world.block(a, b)
    world.run(5.0)
    assert flow.stop().outage <= OUTAGE_OF_ANSWERS


def test_a_cut_path_that_heals_is_used_again_and_nothing_is_lost() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.run(2.0)
    world.block(a, b)
    world.run(60.0)
    world.unblock(a, b)
    since = world.now
    world.run_until_direct(a, b, BACK_OFF + ATTEMPT)
    world.run(5.0)
    assert flow.stop().lost_since(since) == []


def test_a_path_blocked_for_a_minute_from_the_start_is_used_once_it_opens() -> None:
    world = Simulation()
    a, b = world.client("a", HOME), world.client("b", HOME)
    world.start()
    world.block(a, b)
    flow = world.flow(a, b)
    world.run(60.0)
    assert not a.is_direct(b)
    world.unblock(a, b)
    world.run_until_direct(a, b, BACK_OFF + ATTEMPT)
    assert flow.stop().lost == []


def test_a_path_of_twenty_percent_loss_loses_little_more_than_that() -> None:
    world, a, b = direct_pair()
    world.internet.wire.loss = 0.2
    flow = world.flow(a, b)
    world.run(120.0)
    flow.stop()
    assert len(flow.lost) < 0.6 * len(flow.packets)  # over the relay four wires have to hold: 59 %
    assert flow.outage <= 2.5
    world.internet.wire.loss = 0.0
    world.run_until_direct(a, b, HOLD_DOWN + BACK_OFF + ATTEMPT)


def test_a_server_outage_does_not_touch_a_direct_path() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.server.stop()
    world.run(300.0)
    assert flow.stop().lost == []
    assert a.is_direct(b)


def test_a_direct_pair_loses_nothing_while_the_server_restarts() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.run(2.0)
    world.server.restart(down=1.0)
    world.run(30.0)
    assert flow.stop().lost == []
    assert a.is_direct(b)


def test_clients_are_back_three_seconds_after_the_server_restarted() -> None:
    world, a, b = relayed_pair()
    flows = world.flow(a, world.server), world.flow(a, b)
    world.run(2.0)
    world.server.restart(down=0.2)
    world.run(0.2 + 3.0)
    since = world.now
    world.run(10.0)
    for flow in flows:
        assert flow.stop().lost_since(since) == []


@pytest.mark.parametrize("new_ports", [False, True])
def test_a_flushed_nat_costs_a_direct_pair_less_than_three_seconds(new_ports: bool) -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.run(2.0)
    assert a.segment.gateway is not None
    a.segment.gateway.flush(new_ports=new_ports)
    world.run(3.0)
    since = world.now
    world.run_until_direct(a, b, BACK_OFF + ATTEMPT)
    assert flow.stop().lost_since(since) == []


def test_a_relayed_client_behind_a_flushed_nat_is_back_within_a_round_trip() -> None:
    world, a, b = relayed_pair()
    flow = world.flow(a, b, 0.02)
    world.run(2.0)
    assert a.segment.gateway is not None
    a.segment.gateway.flush(new_ports=True)
    world.run(5.0)
    # The notice comes one round trip after the first refused datagram, its answer half a one later.
    assert flow.stop().outage <= 0.25


@pytest.mark.parametrize("port", [None, 40_001])
def test_a_client_that_restarts_is_back_and_direct(port: int | None) -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.run(2.0)
    b.restart(port=port, down=0.2)
    world.run(0.2 + 3.0)
    since = world.now
    world.run_until_direct(a, b, BACK_OFF + ATTEMPT)
    assert flow.stop().lost_since(since) == []


def test_both_clients_may_restart_at_once() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.run(2.0)
    a.restart(port=40_001)
    b.restart(port=40_002)
    world.run(5.0)
    since = world.now
    world.run_until_direct(a, b, BACK_OFF + ATTEMPT)
    assert flow.stop().lost_since(since) == []


def test_a_client_that_moves_is_heard_again_within_a_second() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    world.run(2.0)
    a.move(world.site(HOME), "192.168.1.33")
    world.run(1.0)
    since = world.now
    world.run_until_direct(a, b, ATTEMPT)
    assert flow.stop().lost_since(since) == []


def test_a_clean_stop_is_known_at_once() -> None:
    world, a, b = direct_pair()
    assert a.is_direct(b)
    b.stop(clean=True)
    world.run(0.1)
    assert a.status(b).path != "direct"
    assert a.status(b).sessions == 0
    assert world.server.status(b).sessions == 0


def test_an_idle_direct_pair_sends_ten_packets_a_minute_and_keeps_its_mapping() -> None:
    kind = NatKind(HOME.mapping, HOME.filtering, lifetime=MEMORY)
    world, a, b = direct_pair(kind)
    world.run(60.0)
    before = a.sent.to_clients, b.sent.to_clients
    world.run(180.0)
    after = a.sent.to_clients, b.sent.to_clients
    for sent_before, sent_after in zip(before, after, strict=True):
        assert 0 < sent_after - sent_before <= 30
    world.run(600.0)
    carried = world.bulky["a", "b"]
    flow = world.flow(a, b)
    world.run(1.0)
    assert flow.stop().lost == []
    assert world.bulky["a", "b"] - carried >= len(flow.packets)
    assert a.is_direct(b)


def test_probes_of_a_blocked_pair_are_few_and_go_on() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b, 1.0)
    world.block(a, b)
    world.run(300.0)
    before = a.sent.to_clients
    world.run(300.0)
    flow.stop()
    # Five to six attempts of 8 probes to at most 8 candidates, 60 s apart.
    assert 5 * 8 <= a.sent.to_clients - before <= 6 * 8 * 8
    assert flow.lost_since(world.now - 500.0) == []


def test_a_path_that_fails_often_is_trusted_less_and_less() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b)
    since = world.now
    for _ in range(20):
        world.block(a, b)
        world.run(3.0)
        world.unblock(a, b)
        world.run(12.0)
    flow.stop()
    changes = [event for at, event in a.events_of(PathChanged) if at > since and event.peer == "b"]
    returns = [event for event in changes if isinstance(event.new, Endpoint)]
    assert 1 <= len(returns) <= 3 + 5 + 1  # three while it is still trusted, then at most one a minute
    world.run_until_direct(a, b, HOLD_DOWN + BACK_OFF + ATTEMPT)


def test_fifty_cycles_of_block_and_open_leave_nothing_behind() -> None:
    world, a, b = direct_pair()
    flow = world.flow(a, b, 5.0)
    counts = []
    for cycle in range(50):
        world.block(a, b)
        world.run(20.0)
        world.unblock(a, b)
        world.run_until_direct(a, b, HOLD_DOWN + BACK_OFF + ATTEMPT)
        if cycle in (9, 49):
            counts.append([sum(1 for _ in reachable(node.engine)) for node in (a, b, world.server)])
    assert flow.stop().lost_since(world.now - 10.0) == []
    for early, late in zip(*counts, strict=True):
        assert late <= early * 1.1 + 20
    assert 1 <= len(a.candidates(b)) <= 8
