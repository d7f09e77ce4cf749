"""What has failed on the way to one client, and for how long that forbids the next attempt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

BACKOFF = (5.0, 10.0, 20.0, 40.0, 60.0)  # seconds after the first, second, … failure in a row
BACKOFF_JITTER = 0.1  # of the wait, more or less

LOSSES_REMEMBERED = 300.0  # seconds
HOLD_DOWN = (0.0, 5.0, 15.0, 60.0)  # seconds after the first, second, … of those losses


class Backoff:
    """The waits between failed attempts: longer each time, up to a minute, and never quite the same."""

    __slots__ = ("_jitter", "failures")

    def __init__(self, jitter: Callable[[float], float]) -> None:
        """`jitter(most)` returns a random duration of up to `most` seconds."""
        self.failures = 0  # in a row
        self._jitter = jitter

    def next(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        wait = BACKOFF[min(self.failures, len(BACKOFF) - 1)]
        self.failures += 1
        return wait * (1.0 - BACKOFF_JITTER) + self._jitter(2 * BACKOFF_JITTER * wait)

    def reset(self) -> None:
        """Begin anew: something has changed."""
        self.failures = 0


class HoldDown:
    """Flap damping: a client whose direct path fails often stays on the relay for longer each time."""

    __slots__ = ("_losses", "until")

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=len(HOLD_DOWN))
        self.until = float("-inf")  # no direct path is used before

    def lost(self, now: float) -> None:
        """Note that the path in use was lost."""
        while self._losses and now - self._losses[0] > LOSSES_REMEMBERED:
            self._losses.popleft()
        self._losses.append(now)
        self.until = now + HOLD_DOWN[len(self._losses) - 1]


class Setbacks:
    """Failed attempts and lost paths: when the next attempt may begin, and why there is no direct path."""

    __slots__ = ("_hold_down", "backoff", "not_before", "refusal", "why")

    def __init__(self, backoff: Backoff) -> None:
        """`backoff` has been through what came before."""
        self.backoff = backoff
        self._hold_down = HoldDown()
        self.not_before = float("-inf")  # of the next attempt
        self.refusal = ""  # why there was no introduction
        self.why = ""  # there is no direct path

    @property
    def held_until(self) -> float:
        """Until when no direct path is used."""
        return self._hold_down.until

    @property
    def next_try(self) -> float:
        """When an attempt may begin."""
        return max(self.not_before, self.held_until)

    def failed(self, why: str, now: float) -> float:
        """Note that an attempt was in vain; return for how many seconds that forbids the next."""
        self.why = why
        wait = self.backoff.next()
        self.not_before = now + wait
        return wait

    def lost(self, why: str, now: float) -> None:
        """Note that the path in use was lost."""
        self.why = why
        self._hold_down.lost(now)
        self.not_before = self.held_until

    def distrust(self) -> None:
        """Note that a path was found that is not trusted yet."""
        self.not_before = self.held_until

    def forgive(self) -> None:
        """Note that something has changed, and may work now."""
        self.backoff.reset()
        self.not_before = float("-inf")

    def explain(self, now: float) -> str:
        """Return why there is no direct path, and when the next is looked for."""
        if now < self.held_until:
            return f"{self.why}; held down for {self.held_until - now:.0f} s"
        if now < self.not_before:
            return f"{self.why}; next try in {self.not_before - now:.0f} s"
        return self.why or "nothing was sent yet"
