from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

from ltk.kernel.timerfd import Timer

PATIENCE = 5.0  # seconds; reached only where the test fails


@pytest.fixture
def timer() -> Iterator[Timer]:
    made = Timer()
    yield made
    made.close()


def is_due(timer: Timer, patience: float = 0.0) -> bool:
    return bool(select.select([timer], [], [], patience)[0])


def test_a_timer_is_due_at_its_moment_and_not_before(timer: Timer) -> None:
    moment = time.monotonic() + 0.0302  # no whole number of milliseconds
    timer.set(moment)
    assert not is_due(timer)
    assert is_due(timer, PATIENCE)
    assert time.monotonic() >= moment


@pytest.mark.parametrize("moment", [0.0, 1e-10, 1.0], ids=["the very beginning", "nearly none", "long ago"])
def test_a_moment_that_has_passed_is_due_at_once(timer: Timer, moment: float) -> None:
    timer.set(moment)
    assert is_due(timer, PATIENCE)


def test_a_timer_is_not_due_before_it_is_set_nor_after_it_was_taken_back(timer: Timer) -> None:
    assert not is_due(timer)
    timer.set(1.0)
    timer.set(None)
    assert not is_due(timer)


def test_a_timer_that_was_due_can_be_set_again(timer: Timer) -> None:
    timer.set(1.0)
    assert is_due(timer, PATIENCE)
    timer.set(time.monotonic() + 60)
    assert not is_due(timer)
