"""One attempt at a direct path, and how long to wait before the next.

Both sides probe all that they know of each other at the same moments, so that each opens its own NAT
for the other. The first probes come close together: whichever side's NAT opens first, the other's next
probe passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ltk.protocol.frames import CandidateKind, NatMapping
from ltk.protocol.path import Path

PROBE_OFFSETS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds
PROBES_AFTER_PROOF = 5  # a better path than the first may need as many to answer
CONNECT_OFFSETS = (0.0, 0.5, 1.5, 3.0)  # seconds; either introduction may be lost, or the other side be late
ATTEMPT_TIME = 4.5  # seconds

BACKOFF = (5.0, 10.0, 20.0, 40.0, 60.0)  # seconds after the first, second, … failure in a row
BACKOFF_JITTER = 0.1  # of the wait, more or less

LOSSES_REMEMBERED = 300.0  # seconds
HOLD_DOWN = (0.0, 5.0, 15.0, 60.0)  # seconds after the first, second, … of those losses

BETTER_BY = 5e-3  # seconds by which, and
BETTER_SHARE = 0.8  # share of its round trip at which, a path replaces one that works


def is_better(path: Path, active: Path) -> bool:
    """Return whether a proven path is worth leaving another for: the same network, or clearly faster."""
    near, active_near = (each.kind is CandidateKind.HOST for each in (path, active))
    if near is not active_near:
        return near
    return path.srtt < active.srtt * BETTER_SHARE and path.srtt < active.srtt - BETTER_BY


def nat_hint(own: NatMapping, theirs: NatMapping) -> str:
    """Return what makes an answer unlikely, as far as it is known, to be added to a sentence."""
    sides = {"this side's": own, "the other side's": theirs}
    hard = [side for side, mapping in sides.items() if mapping is NatMapping.ADDRESS_AND_PORT_DEPENDENT]
    return f": {' and '.join(hard)} NAT chooses a port for each destination" if hard else ""


class Attempt:
    """The course of one attempt. `asks`: this node numbered it, and asks the server for introductions."""

    __slots__ = (
        "_asks",
        "_base",
        "_connects",
        "_rounds",
        "introduced",
        "number",
        "probed",
        "proven",
        "started",
    )

    def __init__(self, number: int, now: float, *, asks: bool) -> None:
        """Start now; who asks has just asked once."""
        self.number = number
        self.started = now
        self.introduced = False  # the other side's candidates are known, and it knows that it is meant
        self.probed = False  # anything was sent at all
        self.proven = False
        self._asks = asks
        self._connects = 1
        self._base = now
        self._rounds = 0

    def restart(self, now: float) -> None:
        """Probe from the start, since only now there is whom or how."""
        self._base = now
        self._rounds = 0

    def probes_are_due(self, now: float) -> bool:
        """Return whether it is time to probe, and count that as done."""
        if now < self._next_round():
            return False
        while self._next_round() <= now:
            self._rounds += 1
        return True

    def connect_is_due(self, now: float) -> bool:
        """Return whether it is time to ask the server once more, and count that as done."""
        if now < self._next_connect():
            return False
        while self._next_connect() <= now:
            self._connects += 1
        return True

    def is_over(self, now: float) -> bool:
        """Return whether there is nothing left to do or to wait for."""
        if self.proven:
            return self._rounds >= PROBES_AFTER_PROOF
        return now >= self._base + ATTEMPT_TIME

    def why_in_vain(self, candidates: int, hint: str) -> str:
        """Return why no probe was answered, of so many candidates; `hint` says what makes that unlikely."""
        if self.probed:
            return f"none of {candidates} candidates answered a probe{hint}"
        return "there was no session to send probes in" if candidates else "no candidate is known"

    def next_moment(self) -> float:
        """Return when something is to be done next."""
        return min(self._next_round(), self._next_connect(), self._base + ATTEMPT_TIME)

    def _next_round(self) -> float:
        if self._rounds >= len(PROBE_OFFSETS):
            return float("inf")
        return self._base + PROBE_OFFSETS[self._rounds]

    def _next_connect(self) -> float:
        if not self._asks or self.proven or self._connects >= len(CONNECT_OFFSETS):
            return float("inf")
        return self.started + CONNECT_OFFSETS[self._connects]


class Backoff:
    """The waits between failed attempts: longer each time, up to a minute, and never quite the same."""

    __slots__ = ("_failures", "_jitter")

    def __init__(self, jitter: Callable[[float], float]) -> None:
        """`jitter(most)` returns a random duration of up to `most` seconds."""
        self._failures = 0
        self._jitter = jitter

    def next(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        wait = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._failures += 1
        return wait * (1.0 - BACKOFF_JITTER) + self._jitter(2 * BACKOFF_JITTER * wait)

    def reset(self) -> None:
        """Begin anew: something has changed."""
        self._failures = 0


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
