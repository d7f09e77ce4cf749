"""Anything may happen to four hosts in any order; what must hold, holds; quiet brings every possible path.

Hypothesis makes up what happens and shrinks what fails. A failure names the seed and prints the
steps as a test to be pasted.
"""

from __future__ import annotations

import os
from itertools import combinations, permutations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sim import PROOF_LIFETIME, Node, Simulation
from sim_curve import use_toy_curve
from sim_net import (
    FULL_CONE,
    HOME,
    PORT_RESTRICTED,
    RESTRICTED_CONE,
    SYMMETRIC,
    NatKind,
    Segment,
    can_be_direct,
    method,
)
from sim_objects import reachable
from sim_packets import Flow

KINDS = (None, FULL_CONE, RESTRICTED_CONE, PORT_RESTRICTED, HOME, SYMMETRIC)
EXAMPLES = int(os.environ.get("LTK_EXAMPLES", "150"))  # a release tries ten times as many
STEPS = 100  # in each
PATH_TIME = 160.0  # seconds: what is held down, backed off and tried once more in the worst case
NOTICING = 6.0  # seconds in which whatever happened last has been noticed, and a way found around it
RESTING = 6.0  # seconds in which whoever has a path loses nothing
MAX_CANDIDATES = 8
MAX_OBJECTS = 4000  # that one engine of this size holds; a fresh one holds about 600
clients = st.integers(0, 2)
pairs = st.sampled_from([*permutations(range(3), 2)])


class Network(RuleBasedStateMachine):
    """Three clients and a server to which things happen."""

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        kinds=st.tuples(*[st.sampled_from(KINDS)] * 3),
        neighbours=st.booleans(),
    )
    def build(self, seed: int, kinds: tuple[NatKind | None, ...], neighbours: bool) -> None:
        self.patch = pytest.MonkeyPatch()
        use_toy_curve(self.patch)
        self.world = world = Simulation(seed)
        first = world.client("a", kinds[0])
        lan = first.segment if neighbours and first.segment is not world.internet else kinds[1]
        self.nodes = [first, world.client("b", lan), world.client("c", kinds[2])]
        world.start()
        world.run(0.3)

    def up(self, *numbers: int) -> list[Node]:
        """The nodes of these numbers, or none of them where one is down."""
        nodes = [self.nodes[number] for number in numbers]
        return nodes if all(node.engine is not None for node in nodes) else []

    @rule(which=clients, clean=st.booleans())
    def stop(self, which: int, clean: bool) -> None:
        for node in self.up(which):
            node.stop(clean=clean)
        self.world.run(0.5)

    @rule(which=clients)
    def start(self, which: int) -> None:
        self.world.start(self.nodes[which])
        self.world.run(0.5)

    @rule(which=clients, port=st.sampled_from([None, 40_000, 40_001, 40_002]))
    def restart(self, which: int, port: int | None) -> None:
        for node in self.up(which):
            node.restart(port=port)
        self.world.run(1.0)

    @rule(down=st.sampled_from([0.1, 1.0, 10.0]))
    def restart_server(self, down: float) -> None:
        self.world.server.restart(down=down)
        self.world.run(down + 0.5)

    @rule(pair=pairs, one_way=st.booleans())
    def block(self, pair: tuple[int, int], one_way: bool) -> None:
        one, other = (self.nodes[number] for number in pair)
        self.world.block(one, other, one_way=one_way)

    @rule(pair=pairs)
    def unblock(self, pair: tuple[int, int]) -> None:
        self.world.unblock(*(self.nodes[number] for number in pair))

    @rule(which=clients, new_ports=st.booleans())
    def flush(self, which: int, new_ports: bool) -> None:
        nat = self.nodes[which].segment.gateway
        if nat is not None:
            nat.flush(new_ports=new_ports)

    @rule(which=clients, kind=st.sampled_from(KINDS))
    def move(self, which: int, kind: NatKind | None) -> None:
        world = self.world
        if kind is None:
            self.nodes[which].move(world.internet, world.new_public_address())
        else:
            self.nodes[which].move(world.site(kind), f"192.168.1.{20 + which}")

    @rule(loss=st.sampled_from([0.0, 0.0, 0.05, 0.4]), jitter=st.sampled_from([0.0, 0.0, 0.05]))
    def weather(self, loss: float, jitter: float) -> None:
        wire = self.world.internet.wire
        wire.loss, wire.jitter, wire.duplicate = loss, jitter, jitter

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 1.0, 5.0, 25.0, 70.0]))
    def idle(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(pair=pairs, count=st.integers(1, 6), every=st.sampled_from([0.0, 0.02, 0.2]))
    def burst(self, pair: tuple[int, int], count: int, every: float) -> None:
        for _ in range(count):
            if nodes := self.up(*pair):
                nodes[0].send(nodes[1], is_ping=True)
            self.world.run(every)

    @invariant()
    def no_path_is_claimed_that_was_not_proven(self) -> None:
        if hasattr(self, "world"):
            self.world.check_claims()

    @invariant()
    def candidates_are_bounded(self) -> None:
        for node, other in permutations(getattr(self, "nodes", ()), 2):
            if node.engine is not None:
                known = len(node.candidates(other))
                self.world.check(known <= MAX_CANDIDATES, f"{node.name} keeps {known} candidates")

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.come_to_rest()
        finally:
            if hasattr(self, "patch"):
                self.patch.undo()

    def come_to_rest(self) -> None:
        """Let nothing more happen, and everybody talk to everybody."""
        world = self.world
        wire = world.internet.wire
        wire.loss = wire.jitter = wire.duplicate = 0.0
        world.start()
        flows = [world.flow(one, other, 1.0) for one, other in combinations(self.nodes, 2)]
        world.run(NOTICING)
        for flow in flows:
            if self.can_be_direct(flow):
                world.run_until_direct(flow.source, flow.destination, PATH_TIME)
        # A claim that nothing can prove any more has ended then, or `check_claims` sees it.
        world.run(RESTING if all(map(self.can_be_direct, flows)) else PROOF_LIFETIME + RESTING)
        since = world.now - RESTING
        for flow in flows:
            flow.running = False
        world.run(2.0)
        for flow in flows:
            one, other = flow.source, flow.destination
            world.check(flow.lost_since(since) == [], f"in quiet, {one.name} lost pings to {other.name}")
            if not self.may_be_found(flow):
                claimed = one.is_direct(other) or other.is_direct(one)
                world.check(not claimed, f"{one.name} and {other.name} claim an impossible path")
        world.check_claims()
        for node in (world.server, *self.nodes):
            held = sum(1 for _ in reachable(node.engine))
            world.check(held <= MAX_OBJECTS, f"{node.name} holds {held} objects")

    def can_be_direct(self, flow: Flow) -> bool:
        """What the world knows about two clients."""
        one, other = flow.source, flow.destination
        if one.segment is other.segment:
            return True if one.segment is not self.world.internet else not self.is_blocked(one, other)
        kinds = [kind_of(node.segment) for node in (one, other)]
        return not self.is_blocked(one, other) and can_be_direct(*kinds)

    def may_be_found(self, flow: Flow) -> bool:
        """Whether the two can be direct for sure, or may be by a search for ports."""
        one, other = flow.source, flow.destination
        is_sure = self.can_be_direct(flow)
        return is_sure or (
            one.segment is not other.segment
            and not self.is_blocked(one, other)
            and method(*(kind_of(node.segment) for node in (one, other))) is not None
        )

    def is_blocked(self, one: Node, other: Node) -> bool:
        blocked = self.world.internet.blocked
        pair = (one.public_address, other.public_address)
        return pair in blocked or pair[::-1] in blocked


def kind_of(segment: Segment) -> NatKind | None:
    """The NAT of a segment."""
    return None if segment.gateway is None else segment.gateway.kind


Network.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestNetwork = Network.TestCase
