"""A poller that is turned until something holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from ltk.node.poller import Poller

PATIENCE = 5.0  # seconds; reached only where the test fails

TurnUntil = Callable[[Callable[[], object], str], None]


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller()
    yield made
    made.close()


@pytest.fixture
def turn_until(poller: Poller) -> TurnUntil:
    def turn(condition: Callable[[], object], awaited: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {PATIENCE:g} s in vain for {awaited}")
            poller.wait(deadline)

    return turn
