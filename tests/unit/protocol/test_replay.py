"""The replay window at both ends of its range, and against a naive twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol.replay import WINDOW, ReplayWindow

HIGHEST = 2**64 - 2**13 - 2


class NaiveWindow:
    """The definition: a set of all counters seen."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def accept(self, counter: int) -> bool:
        if counter in self.seen or (self.seen and counter <= max(self.seen) - WINDOW):
            return False
        self.seen.add(counter)
        return True


def test_each_counter_passes_once():
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in range(3 * WINDOW))
    assert not any(window.accept(counter) for counter in range(3 * WINDOW))


@pytest.mark.parametrize("greatest", [WINDOW, WINDOW + 1, 100_000, 102_399, 102_400, HIGHEST])
def test_the_window_reaches_back_exactly_its_size(greatest):
    window = ReplayWindow()
    assert window.accept(greatest)
    assert not window.accept(greatest - WINDOW)
    assert window.accept(greatest - WINDOW + 1)
    assert not window.accept(greatest - WINDOW + 1)


def test_all_late_counters_of_a_whole_window_pass_in_any_order():
    window = ReplayWindow()
    assert window.accept(5 * WINDOW + 511)
    late = range(4 * WINDOW + 512, 5 * WINDOW + 511)
    assert all(window.accept(counter) for counter in reversed(late))
    assert not any(window.accept(counter) for counter in late)


@pytest.mark.parametrize("jump", [1, 63, 64, 1023, 1024, 1025, WINDOW - 1, WINDOW, WINDOW + 1, 9216, 2**40])
def test_a_jump_forgets_nothing_that_it_must_know_and_nothing_that_is_new(jump):
    window, naive = ReplayWindow(), NaiveWindow()
    for counter in [*range(0, 2048, 3), 2048 + jump]:
        assert window.accept(counter) == naive.accept(counter)
    around = [*range(2060), *range(max(0, 2048 + jump - WINDOW - 3), 2048 + jump + 3, 7)]
    for counter in around:
        assert window.accept(counter) == naive.accept(counter), counter


def test_the_highest_counter_that_is_ever_used_passes_once():
    window = ReplayWindow()
    assert window.accept(0)
    assert window.accept(HIGHEST)
    assert not window.accept(HIGHEST)
    assert not window.accept(0)


STEPS = st.lists(
    st.one_of(
        st.integers(-20, 20),
        st.integers(-2 * WINDOW, 2 * WINDOW),
        st.sampled_from([-WINDOW - 1, -WINDOW, -WINDOW + 1, WINDOW, WINDOW + 1024, 1023, 1024, 2**33]),
    ),
    max_size=200,
)


@given(st.integers(0, 2**50), STEPS)
def test_the_window_agrees_with_its_definition(start, steps):
    window, naive = ReplayWindow(), NaiveWindow()
    counter = start
    for step in steps:
        counter = max(0, counter + step)
        assert window.accept(counter) == naive.accept(counter)


BURSTS = st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=8), max_size=30)


@given(st.integers(0, 2**50), BURSTS)
def test_a_burst_is_noted_as_its_counters_are_or_not_at_all(start, bursts):
    window, naive = ReplayWindow(), NaiveWindow()
    counter = start
    for steps in bursts:
        burst = []
        for step in steps:
            counter = max(0, counter + step)
            burst.append(counter)
        if window.accept_burst(tuple(burst)):
            assert [naive.accept(each) for each in burst] == [True] * len(burst)
        else:
            for each in burst:
                assert window.accept(each) == naive.accept(each)


def test_counters_that_are_as_many_as_their_ends_say_need_not_be_those_between() -> None:
    window = ReplayWindow()
    assert window.accept(1)
    assert not window.accept_burst((5, 9, 7))
    assert window.accept_burst((5, 6, 7))
    assert window.accept(9)
