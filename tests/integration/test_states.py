"""All that can be between two clients, at once in one lab: the way that their data takes, and how soon.

How it is measured is told in `states`. The times are printed at the end of the run, and `--write-docs` puts
them into docs/nat-matrix.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import states
from figures import Figure, Judge
from flows import flush_nat
from harness import Lab, wait_for
from outcomes import Ending, record
from states import IDLE, MOVED, NEW, SAME, STATES, Course, World, gaps
from streams import traffic

SOON = 3.0  # seconds until a pair goes its way, and until it does again (R5)
LIFETIME = 20.0  # seconds of an idle mapping of IDLE's routers
IDLE_FOR = 2.5 * LIFETIME


@pytest.fixture
def world(lab: Callable[..., Lab]) -> Iterator[World]:
    """The lab of all states."""
    made = lab(states.topology())
    with traffic() as running:
        yield World(made, running)


def test_every_state_ends_as_the_network_allows_and_is_found_again_after_a_restart(
    world: World, record_property: Callable[[str, object], None], held: Judge
) -> None:
    began = time.time()
    courses = {state: world.begin(state) for state in STATES}
    world.settle([*courses.values()], began)
    figures = [
        Figure("NAT", f"{state.what}: {state.way.split(',')[0]}", SOON, (course.took,))
        for state, course in courses.items()
    ]
    endings = [Ending(state.what, state.way.value, course.took) for state, course in courses.items()]
    idle = courses.pop(IDLE)
    world.traffic.stop(idle.stream)
    silent = time.time() + 1.0  # what is under way arrives within that

    same, new, moved = (courses[state] for state in (SAME, NEW, MOVED))
    before = {course.state: course.ports for course in (same, new, moved)}
    for course in (same, new):
        began = time.time()
        flush_nat(world.lab, course.state.outer[0], new_ports=False)
        world.settle([course], time.time())
        figures += restarts(began, (course,))
        endings.append(Ending(f"{course.state.what}, restarted", course.state.way.value, course.took))
    assert same.ports == before[SAME], "a NAT that keeps ports gives the same one again"
    assert len(new.ports) == 1
    assert new.ports != before[NEW], "a NAT that does not gives another"

    left = world.move()
    world.settle([moved], left)
    figures += restarts(left, (moved,))
    endings.append(Ending(f"{MOVED.what}, at its other address", MOVED.way.value, moved.took))
    world.settle([*courses.values()], time.time())  # nobody else was concerned

    silence, again = stay_awake(world, idle, silent)
    figures.append(silence)
    endings.append(Ending(f"{IDLE.what}, after {IDLE_FOR:.0f} s without data", IDLE.way.value, again.took))
    for ending in endings:
        record(record_property, ending)
    held(figures, 1)
    for course in courses.values():
        assert course.stream.duplicates() == [], course.state.what


def restarts(since: float, courses: tuple[Course, ...]) -> list[Figure]:
    """How long each was without answers, and how long not direct."""
    now = time.time()
    found = []
    for course in courses:
        outage = course.stream.outage(since, now)
        found.append(Figure("R5", f"{course.state.what}: outage", SOON, (outage,)))
        found.append(Figure("NAT", f"{course.state.what}: direct again", SOON, (course.took,)))
    return found


def stay_awake(world: World, idle: Course, silent: float) -> tuple[Figure, Course]:
    """A pair that says nothing keeps the mappings that it has, by few packets, and uses them at once.

    Returns how long the routers saw nothing of it, and its course from then on.
    """
    until = silent + IDLE_FOR
    wait_for(lambda: time.time() > until, "the pair to have been idle for long", 2 * IDLE_FOR)
    one, other = world.outer(IDLE)
    kept = [*world.seen.between(one, other, silent), *world.seen.between(other, one, silent)]
    assert not any(each.is_data for each in kept), "the pair was not idle"
    longest = max(gaps(kept, silent, until))
    assert longest < LIFETIME, sorted(each.at - silent for each in kept)
    assert {each.port for each in world.seen.between(one, other, silent)} == set(idle.ports)
    again = world.begin(IDLE)
    world.settle([again], until)
    assert again.ports == idle.ports
    assert world.relayed(IDLE, silent) == [], "its first data found no direct path"
    return Figure("NAT", f"{IDLE.what}: longest silence", LIFETIME, (longest,)), again
