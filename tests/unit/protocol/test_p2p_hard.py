"""NATs that choose a port for each destination, routers that a probe spoils: what helps, within bounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from sim import Node, Simulation
from sim_curve import use_toy_curve
from sim_net import FULL_CONE, HOME, POISONABLE, PORT_RESTRICTED, SEQUENTIAL, SYMMETRIC, NatKind

from ltk.protocol.attempt import LONGEST_ATTEMPT
from ltk.protocol.config import HardNat, P2p
from ltk.protocol.drops import Drop
from ltk.protocol.engine import Endpoint
from ltk.protocol.events import AttemptFailed, NatClassified
from ltk.protocol.frames import Expect, Nat, NatMapping, PortRule
from ltk.protocol.search import LINE, PROBES, ROUNDS, SOCKETS, WINDOW, Method
from ltk.protocol.sockets import KEPT_FOR, MAX_SOCKETS

ATTEMPT = 8.0  # seconds within which a first attempt has succeeded or failed, whatever it does
LATE_ATTEMPT = 14.0  # the same on a machine that comes late
AGAIN = 14.0  # seconds more, until the second has
RUNS = 200
SURE = 0.95  # of a round of the birthday search


@pytest.fixture(autouse=True)
def _quick_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_curve(monkeypatch)


def pair(
    one: NatKind | None, other: NatKind | None, *, seed: int = 1, **options: object
) -> tuple[Simulation, Node, Node]:
    """Two clients and a server, introduced to each other and otherwise silent."""
    world = Simulation(seed)
    a, b = world.client("a", one, **options), world.client("b", other, **options)
    world.start()
    world.run(1.0)
    return world, a, b


def try_once(world: Simulation, a: Node, b: Node, within: float = ATTEMPT) -> bool:
    """Whether the two become direct in their first attempt; nothing is lost meanwhile."""
    flow = world.flow(a, b, 0.5)
    end = world.now + within
    while world.now < end and not (a.is_direct(b) and b.is_direct(a)) and not a.events_of(AttemptFailed):
        world.run(0.1)
    assert flow.stop().lost == []
    return a.is_direct(b) and b.is_direct(a)


def sent(node: Node, peer: Node, method: Method) -> int:
    return node.status(peer).probes.get(method, 0)


# What a NAT does.


@pytest.mark.parametrize(
    ("kind", "nat"),
    [
        (HOME, Nat(NatMapping.ENDPOINT_INDEPENDENT)),
        (SYMMETRIC, Nat(NatMapping.ADDRESS_AND_PORT_DEPENDENT)),
        (SEQUENTIAL, Nat(NatMapping.ADDRESS_AND_PORT_DEPENDENT, 1)),
        (replace(SEQUENTIAL, step=4), Nat(NatMapping.ADDRESS_AND_PORT_DEPENDENT, 4)),
    ],
    ids=str,
)
def test_a_client_learns_whether_the_ports_of_its_nat_come_in_sequence(kind: NatKind, nat: Nat) -> None:
    _, a, _ = pair(kind, None)
    assert a.events_of(NatClassified)[-1][1].nat == nat
    assert a.ports == {}, "no socket stays open for that"


def test_a_look_at_the_ports_is_repeated_when_answers_are_lost() -> None:
    world = Simulation(3)
    a = world.client("a", SEQUENTIAL)
    world.internet.wire.loss = 0.3
    world.start()
    world.run(10.0)
    assert a.events_of(NatClassified)[-1][1].nat.step == 1


# Prediction and birthday.


@pytest.mark.parametrize(
    ("one", "other"),
    [(SEQUENTIAL, PORT_RESTRICTED), (SEQUENTIAL, SEQUENTIAL), (replace(SEQUENTIAL, step=3), SEQUENTIAL)],
    ids=["one", "both", "other-steps"],
)
def test_ports_in_sequence_are_predicted_in_each_first_attempt(one: NatKind, other: NatKind) -> None:
    for seed in range(RUNS // 4):
        world, a, b = pair(one, other, seed=seed)
        assert try_once(world, a, b), f"not direct with seed {seed}: {a.status(b).reason}"
        for node, peer in ((a, b), (b, a)):
            assert sent(node, peer, Method.PREDICTION) <= max(WINDOW, LINE) * ROUNDS
            assert sent(node, peer, Method.BIRTHDAY) == 0
            assert "port prediction" in node.status(peer).reason


def test_random_ports_are_found_in_nearly_each_first_attempt_within_the_bounds() -> None:
    found, probes = 0, []
    for seed in range(RUNS):
        world, a, b = pair(SYMMETRIC, PORT_RESTRICTED, seed=seed)
        before = a.opened
        direct = try_once(world, a, b)
        opened = a.opened - before
        assert opened == SOCKETS, f"{opened} sockets in one round"
        assert sent(a, b, Method.BIRTHDAY) == SOCKETS
        assert sent(b, a, Method.BIRTHDAY) <= PROBES, f"{sent(b, a, Method.BIRTHDAY)} probes in one round"
        if direct:
            found += 1
            probes.append(sent(b, a, Method.BIRTHDAY))
            for one, other in ((a, b), (b, a)):
                assert "birthday" in one.status(other).reason
    probes.sort()
    median = probes[len(probes) // 2]
    print(f"{found} of {RUNS}, with {probes[0]} to {probes[-1]} probes, {median} at the median")
    assert found >= SURE * RUNS, f"only {found} of {RUNS} first attempts have found a port"


def test_a_machine_that_comes_late_to_its_timers_goes_on_with_its_search() -> None:
    """With three tenths of a second for each turn a round takes longer than plain probing may."""
    runs, late = RUNS // 3, 0.3
    found = 0
    for seed in range(runs):
        world, a, b = pair(SYMMETRIC, PORT_RESTRICTED, seed=seed, late=late)
        found += try_once(world, a, b, LATE_ATTEMPT)
    print(f"{found} of {runs}")
    assert found >= SURE * runs, f"only {found} of {runs} first attempts have found a port"


@pytest.mark.parametrize("late", [0.0, 0.05, 0.3])
def test_a_round_goes_on_to_its_end_and_no_further(late: float) -> None:
    """All probes leave while the sockets are open for them, and then the attempt has failed."""
    world, a, b = pair(SYMMETRIC, PORT_RESTRICTED, late=late)
    world.flow(a, b, 0.5)
    world.block(a, b)
    world.run_until(lambda: sent(b, a, Method.BIRTHDAY) == PROBES, LATE_ATTEMPT, "the last of the probes")
    assert len(a.ports) == SOCKETS, f"only {len(a.ports)} sockets were open when the last probe left"
    assert not a.events_of(AttemptFailed)
    assert not b.events_of(AttemptFailed)
    for one, other in ((a, b), (b, a)):
        failed = world.run_until(lambda one=one: bool(one.events_of(AttemptFailed)), AGAIN, "it to fail")
        assert failed <= LONGEST_ATTEMPT
        assert sent(one, other, Method.BIRTHDAY) == (SOCKETS if one is a else PROBES)
        assert one.ports == {}, "nothing stays open of a round in vain"


@pytest.mark.parametrize("in_vain", [1, 2])
def test_a_round_that_finds_nothing_is_followed_by_another(in_vain: int) -> None:
    """In the third one, what the other side has sent in the second lets in what it is sent."""
    world, a, b = pair(SYMMETRIC, PORT_RESTRICTED)
    flow = world.flow(a, b, 0.5)
    world.block(a, b)
    for failed in range(1, in_vain + 1):
        world.run_until(
            lambda failed=failed: len(a.events_of(AttemptFailed)) == failed, AGAIN + ATTEMPT, "it to fail"
        )
        assert a.ports == {}, "nothing stays open of a round in vain"
    world.unblock(a, b)
    world.run_until_direct(a, b, 2 * AGAIN)
    for one, other in ((a, b), (b, a)):
        assert "birthday" in one.status(other).reason
    assert flow.stop().lost == []


def test_others_that_take_ports_meanwhile_do_no_harm() -> None:
    world = Simulation()
    sites = [world.site(SEQUENTIAL), world.site(SEQUENTIAL)]
    nodes = [
        world.client(f"{name}{number}", site)
        for name, site in zip("ab", sites, strict=True)
        for number in "12"
    ]
    world.start()
    world.run(1.0)
    flows = [world.flow(one, other) for one in nodes[:2] for other in nodes[2:]]
    for flow in flows:
        world.run_until_direct(flow.source, flow.destination, ATTEMPT + 3 * AGAIN)
    assert [flow.stop().lost for flow in flows] == [[]] * len(flows)


def test_ports_that_others_take_too_fast_are_searched_for() -> None:
    """A NAT in sequence behind which so much goes on that no prediction holds."""
    world, a, b = pair(SEQUENTIAL, PORT_RESTRICTED)
    nat = a.segment.gateway
    assert nat is not None

    def busy() -> None:
        nat.take(20)
        world.after(0.01, busy)

    world.after(0.0, busy)
    flow = world.flow(a, b, 0.5)
    world.run_until_direct(a, b, ATTEMPT + AGAIN)
    assert "birthday" in a.status(b).reason
    assert flow.stop().lost == []


def test_a_hard_client_of_many_searches_for_one_after_the_other() -> None:
    world = Simulation()
    hard = world.client("hard", SYMMETRIC, p2p=P2p.EAGER)
    others = [world.client(name, HOME, p2p=P2p.EAGER) for name in "abcd"]
    world.start()
    most = 0
    for _ in range(600):
        world.run(0.1)
        most = max(most, len(hard.ports))
    assert most <= MAX_SOCKETS, f"{most} sockets at once"
    assert all(hard.is_direct(other) and other.is_direct(hard) for other in others)
    assert all(one.is_direct(other) for one, other in combinations(others, 2))


# What was found is kept, and nothing else.


@pytest.mark.parametrize(
    ("one", "other"),
    [(SYMMETRIC, PORT_RESTRICTED), (SEQUENTIAL, SEQUENTIAL)],
    ids=["birthday", "prediction"],
)
def test_the_socket_that_was_found_carries_the_pair_from_then_on(one: NatKind, other: NatKind) -> None:
    world, a, b = pair(one, other)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, ATTEMPT + AGAIN)
    world.run(60.0)
    assert (a.status(b).switches, b.status(a).switches) == (1, 1), "the path was lost meanwhile"
    assert a.is_direct(b)
    assert b.is_direct(a)
    flow.stop()
    world.run(2 * KEPT_FOR)
    assert (a.status(b).switches, b.status(a).switches) == (1, 1), "the idle path was lost"
    assert 1 <= len(a.ports) <= 2, f"{len(a.ports)} sockets are open for one path"
    flow = world.flow(a, b)
    world.run(10.0)
    assert flow.stop().lost == []
    server = a.sent.bulky_to_server
    world.run(1.0)
    assert a.sent.bulky_to_server == server


def test_a_path_by_a_socket_of_its_own_that_is_cut_leaves_no_socket() -> None:
    world, a, b = pair(SYMMETRIC, PORT_RESTRICTED)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, ATTEMPT + AGAIN)
    world.block(a, b)
    world.run_until(lambda: not a.is_direct(b), 5.0, "the path to be lost")
    flow.stop()
    world.run(120.0)  # in which attempts end, for want of data
    assert a.ports == {}
    world.unblock(a, b)
    world.flow(a, b)
    world.run_until_direct(a, b, 120.0)


def test_a_client_that_is_told_of_another_configuration_closes_what_it_held() -> None:
    world, a, b = pair(SYMMETRIC, PORT_RESTRICTED)
    world.flow(a, b)
    world.run_until_direct(a, b, ATTEMPT + AGAIN)
    assert a.engine is not None
    world.clients.remove(b)
    a.engine.configure(world.config_of(a), world.now)
    a.drain()
    assert a.ports == {}


# What is forbidden, and what is nobody's business.


@pytest.mark.parametrize(
    ("one", "other", "wishes", "methods"),
    [
        (SYMMETRIC, HOME, (HardNat.BIRTHDAY, HardNat.OFF), set()),
        (SYMMETRIC, HOME, (HardNat.PREDICT, HardNat.BIRTHDAY), set()),
        (SEQUENTIAL, HOME, (HardNat.BIRTHDAY, HardNat.PREDICT), {Method.PREDICTION}),
        (SEQUENTIAL, SEQUENTIAL, (HardNat.OFF, HardNat.BIRTHDAY), set()),
        (SYMMETRIC, SYMMETRIC, (HardNat.BIRTHDAY, HardNat.BIRTHDAY), set()),
        (SYMMETRIC, SEQUENTIAL, (HardNat.BIRTHDAY, HardNat.BIRTHDAY), set()),
    ],
    ids=["off", "predict-at-random", "predict", "off-in-sequence", "random-twice", "random-and-in-sequence"],
)
def test_no_more_is_done_than_both_sides_wish_and_what_could_help(
    one: NatKind, other: NatKind, wishes: tuple[HardNat, HardNat], methods: set[Method]
) -> None:
    world = Simulation()
    a, b = (
        world.client(name, kind, hard_nat=wish)
        for name, kind, wish in zip("ab", (one, other), wishes, strict=True)
    )
    world.start()
    world.run(1.0)
    flow = world.flow(a, b)
    world.run(90.0)
    for node, peer in ((a, b), (b, a)):
        probes = node.status(peer).probes
        assert {method for method, count in probes.items() if count} - {Method.PLAIN} == methods
        assert node.is_direct(peer) is bool(methods)
        assert node.opened <= 3
    assert flow.stop().lost == []


@pytest.mark.parametrize("rule", PortRule)
def test_who_says_that_it_will_be_seen_at_somebody_elses_address_is_not_believed(rule: PortRule) -> None:
    world, a, b = pair(HOME, SYMMETRIC)
    world.block(a, b)
    world.flow(a, b)
    world.run(0.6)
    assert a.engine is not None
    assert b.engine is not None
    victim = world.client("victim")
    before = a.engine.drops[Drop.UNEXPECTED_FRAME]
    towards_victim: list[Endpoint] = []
    a.on_transmit = lambda _data, to: towards_victim.append(to) if to.address == victim.address else None
    peer = next(each for each in b.engine._peers.values() if each.config.name == "a")
    assert peer.tell(Expect(rule, 1, victim.endpoint), world.now)
    b.drain()
    world.run(3.0)
    assert a.engine.drops[Drop.UNEXPECTED_FRAME] == before + 1
    assert towards_victim == []


# Routers that take what comes too early for themselves.


def test_first_probes_die_before_the_other_sides_router_and_spoil_nothing() -> None:
    """However much later the one side begins, up to a tenth of a second: the server's words take so long, and
    the session, which it cannot probe without, takes one more way by the relay.
    """
    for seed in range(10):
        world, a, b = pair(POISONABLE, POISONABLE, seed=seed)
        world.internet.wire.hold = lambda datagram, a=a, b=b, late=seed * 0.006: (
            late if (datagram.origin, datagram.destination.address) == ("server", b.public_address) else 0.0
        )
        assert try_once(world, a, b), f"not direct with seed {seed}"
        assert a.opened == b.opened == 0, "no fresh socket was needed"


def test_a_spoiled_mapping_is_left_for_a_fresh_one() -> None:
    world, a, b = pair(POISONABLE, POISONABLE)
    for one, other in ((a, b), (b, a)):
        nat = other.segment.gateway
        assert nat is not None
        early = Endpoint(one.public_address, one.port)
        nat.spoil(other.port, early, for_ever=True)
    flow = world.flow(a, b)
    world.run_until_direct(a, b, ATTEMPT + AGAIN)
    assert "fresh socket" in a.status(b).reason
    assert flow.stop().lost == []


def test_plain_probing_is_all_where_it_is_enough() -> None:
    for kind in (HOME, FULL_CONE, None):
        world, a, b = pair(kind, HOME)
        assert try_once(world, a, b)
        assert (a.opened, b.opened) == (0, 0)
        assert a.status(b).reason.startswith("direct: probe answered")
