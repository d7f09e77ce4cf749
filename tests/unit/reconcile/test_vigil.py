"""When a watch looks, what it says and when it repairs, on simulated time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from ltk.errors import LtkError
from ltk.reconcile import vigil
from ltk.reconcile.fights import LONGEST_GAP, Fights
from ltk.reconcile.plan import Create, Operation, Update
from ltk.reconcile.resources import Bridge, Route
from ltk.reconcile.vigil import (
    BUSY,
    LONGEST_BURST,
    LOOK_AGAIN,
    LOOK_AROUND,
    QUIET,
    Blocked,
    Contested,
    Drifted,
    Failed,
    Repaired,
    Righted,
    Said,
    Vigil,
)

SCOPE = "ltk-t-h0"
TOOK = 0.01  # seconds of a look
ROUTE = Create(Route(SCOPE, ip_network("10.1.0.0/16"), "ltk0"), "wanted and missing")
BRIDGE = Create(Bridge(SCOPE, "lan", 1500), "wanted and missing")


@dataclass
class World:
    """What is watched, and an opponent who may undo what is repaired; `at` is the time."""

    differs: list[Operation] = field(default_factory=list)
    undone_after: float = math.inf  # seconds from a repair until everything is as before it
    vigil: Vigil = field(default_factory=Vigil)
    at: float = 1000.0
    looks: list[float] = field(default_factory=list)
    repairs: list[float] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    _undone: list[tuple[float, list[Operation]]] = field(default_factory=list)

    def drift(self, *operations: Operation) -> None:
        """Somebody changes something, and that is heard."""
        self.differs = [*self.differs, *operations]
        self.vigil.heard(self.at)

    def run(self, seconds: float, heard_every: float = math.inf) -> None:
        """Let time pass, as `Watch` does: look when that is due, repair when that may be."""
        end = self.at + seconds
        heard = self.at + heard_every
        while (when := min(self.vigil.due, heard, *(each for each, _ in self._undone), end)) < end:
            self.at = max(self.at, when)
            for due in [each for each in self._undone if each[0] <= self.at]:
                self._undone.remove(due)
                self.drift(*due[1])
            if heard <= self.at:
                self.vigil.heard(self.at)
                heard = self.at + heard_every
            if self.vigil.due <= self.at:
                self._turn()
        self.at = end

    def _turn(self) -> None:
        self.looks.append(self.at)
        began, self.at = self.at, self.at + TOOK
        self.said += self.vigil.looked(began, self.at, self.differs)
        if self.vigil.may_repair(self.at):
            self.repairs.append(self.at)
            done, self.differs = self.differs, []
            self.said += self.vigil.repaired(done, self.at)
            if self.undone_after < math.inf:
                self._undone.append((self.at + self.undone_after, done))
        else:
            self.said += self.vigil.postponed(self.at)


@pytest.fixture
def world() -> World:
    """A watch that has begun, and has found everything in order."""
    world = World()
    world.run(1.0)
    assert (len(world.looks), world.said) == (1, [])
    world.looks.clear()
    return world


def test_a_change_is_looked_at_in_a_moment_and_repaired_at_once(world: World) -> None:
    world.drift(ROUTE)
    changed = world.at
    world.run(LOOK_AROUND / 2)
    assert world.said == [Drifted(ROUTE), Repaired((ROUTE,), pytest.approx(QUIET + TOOK))]
    assert world.repairs == [pytest.approx(changed + QUIET + TOOK)]


def test_a_burst_of_changes_is_one_look(world: World) -> None:
    world.run(0.9 * LONGEST_BURST, heard_every=QUIET / 4)
    world.run(1.0)
    assert len(world.looks) == 1, "looks at one burst"


def test_a_burst_that_does_not_end_is_looked_at_all_the_same(world: World) -> None:
    begin = world.at
    world.run(5.0, heard_every=QUIET / 2)
    assert world.looks[0] - begin <= LONGEST_BURST + QUIET
    gaps = [later - earlier for earlier, later in zip(world.looks, world.looks[1:], strict=False)]
    assert max(gaps) < 0.5, "what changes meanwhile is found within a second"
    assert len(world.looks) * TOOK <= 5.0 / vigil.SHARE, "looking takes a part of the time, not all of it"


def test_nothing_heard_is_looked_around_now_and_then(world: World) -> None:
    world.run(100.0)
    assert len(world.looks) == 100 / LOOK_AROUND


def test_what_differs_is_said_once_and_looked_at_again_until_it_is_right(world: World) -> None:
    """Without --fix nobody repairs; whoever puts it right may do so without a sound."""
    world.vigil.looked(world.at, world.at + TOOK, [ROUTE])
    for _ in range(3):
        assert world.vigil.due <= world.at + LOOK_AGAIN + 2 * TOOK
        world.at = world.vigil.due
        assert world.vigil.looked(world.at, world.at + TOOK, [ROUTE]) == []
    assert world.vigil.looked(world.at, world.at + TOOK, []) == [Righted(ROUTE)]


def test_another_difference_of_the_same_thing_is_said_again(world: World) -> None:
    changed = Update(BRIDGE.resource, BRIDGE.resource, "mtu is 1400, should be 1500")
    assert world.vigil.looked(world.at, world.at, [BRIDGE]) == [Drifted(BRIDGE)]
    assert world.vigil.looked(world.at, world.at, [changed]) == [Drifted(changed)]


def test_whoever_fights_gets_growing_gaps_and_is_told_of(world: World) -> None:
    world.undone_after = 0.005
    world.drift(ROUTE)
    world.run(300.0)
    gaps = [later - earlier for earlier, later in zip(world.repairs, world.repairs[1:], strict=False)]
    assert len(world.repairs) <= 12, "repairs within five minutes"
    assert len(world.looks) <= 2 * 300 / LOOK_AGAIN + 20, "and no more looks than without a fight"
    assert max(gaps[:2]) < 1.0, "anybody may slip twice"
    assert [round(gap) for gap in gaps[2:8]] == [1, 2, 4, 8, 16, 32]
    assert max(gaps) <= 62.0, "it is never given up"
    contested = [each for each in world.said if isinstance(each, Contested)]
    assert [each.times for each in contested] == list(range(3, 3 + len(contested)))


def test_a_fight_of_a_week_goes_on_as_after_an_hour() -> None:
    fights, key, rounds = Fights(), ROUTE.resource.key, 7 * 24 * 60
    now = 0.0
    for _ in range(rounds):
        fights.repaired([key], now)
        gap = fights.may_be_repaired(key) - now
        assert gap <= LONGEST_GAP + 0.001
        now += gap + 0.1
    assert fights.times(key) == rounds


def test_a_fight_over_one_thing_does_not_delay_the_repair_of_another(world: World) -> None:
    world.undone_after = 0.005
    world.drift(ROUTE)
    world.run(60.0)
    world.undone_after = math.inf
    world.drift(BRIDGE)
    changed = world.at
    world.run(1.0)
    assert world.repairs[-1] - changed < 0.6


def test_a_fight_that_is_over_is_forgotten(world: World) -> None:
    world.undone_after = 0.005
    world.drift(ROUTE)
    world.run(20.0)
    world.undone_after = math.inf
    world.run(200.0)
    assert world.differs == []
    world.drift(ROUTE)
    changed = world.at
    world.run(1.0)
    assert world.repairs[-1] - changed < 0.2


def test_another_ltk_at_work_is_waited_for_whatever_is_heard(world: World) -> None:
    world.vigil.heard(world.at)
    for _ in range(20):
        world.vigil.busy(world.at)
        world.vigil.heard(world.at)
        assert world.vigil.due == pytest.approx(world.at + BUSY)
        world.at = world.vigil.due


def failing(vigil: Vigil, looking: bool) -> Callable[[str, float], list[Said]]:
    return lambda words, now: vigil.failed(LtkError("doing", words), now, looking=looking)


def test_a_repair_that_fails_is_tried_again_with_growing_gaps_and_said_once(world: World) -> None:
    fail = failing(world.vigil, looking=False)
    gaps = []
    for attempt in range(10):
        world.vigil.looked(world.at, world.at, [ROUTE])
        assert world.vigil.may_repair(world.at)
        said = fail("no", world.at)
        assert [type(each) for each in said] == ([] if attempt else [Failed])
        assert not world.vigil.may_repair(world.at)
        gaps.append(world.vigil.due - world.at)
        world.at = world.vigil.due
    assert gaps == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    world.vigil.looked(world.at, world.at, [])
    world.vigil.looked(world.at, world.at, [ROUTE])
    assert world.vigil.may_repair(world.at), "after a success it begins anew"


def test_a_repair_that_is_undone_at_once_counts_as_one(world: World) -> None:
    for _ in range(3):
        world.vigil.looked(world.at, world.at, [ROUTE, BRIDGE])
        assert world.vigil.may_repair(world.at)
        assert world.vigil.repaired([BRIDGE], world.at, [ROUTE]) == [Repaired((BRIDGE,), 0.0)]
        assert world.vigil.due <= world.at
    world.vigil.looked(world.at, world.at, [ROUTE])
    assert not world.vigil.may_repair(world.at)
    assert [type(each) for each in world.vigil.postponed(world.at)] == [Contested]


def test_what_goes_while_it_is_looked_at_is_no_failure(world: World) -> None:
    fail = failing(world.vigil, looking=True)
    assert fail("it does not exist", world.at) == []
    world.vigil.looked(world.at, world.at, [ROUTE])
    assert world.vigil.may_repair(world.at)
    assert fail("it does not exist", world.at) == []
    assert [type(each) for each in fail("it does not exist", world.at)] == [Failed]


def test_what_is_in_the_way_is_said_once_and_looked_at_again(world: World) -> None:
    assert world.vigil.looked(world.at, world.at, [], ["a route"]) == [Blocked("a route")]
    assert world.vigil.due == pytest.approx(world.at + LOOK_AGAIN)
    assert world.vigil.looked(world.at, world.at, [], ["a route"]) == []
    assert not world.vigil.may_repair(world.at)
