"""When to look, what to say about what was found, and when to repair it. Pure: the time is given.

A change is rarely alone: a device takes its routes with it, one by one. So a look waits until nothing has
been heard for a moment, but never for long, and takes only a part of all time however much is heard.

What is heard wakes; what nobody tells of is found by looking around, and by looking again for as long as
anything is not as it should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ltk.errors import LtkError
from ltk.node.poller import Backoff
from ltk.reconcile.fights import Fights
from ltk.reconcile.plan import Operation
from ltk.reconcile.resources import Key

QUIET = 0.02  # seconds without another change: the burst is over
LONGEST_BURST = 0.1  # seconds; then it is looked at all the same
SHARE = 8  # a look that took this long is followed by so many times as long without one
LONGEST_REST = 0.5  # seconds; more would be noticed
LOOK_AGAIN = 0.5  # seconds; while something differs
LOOK_AROUND = 10.0  # seconds; a daemon that hangs tells nobody
BUSY = 0.05  # seconds; while another ltk is at work
FIRST_RETRY, LONGEST_RETRY = 0.25, 60.0  # seconds between repairs that fail


@dataclass(frozen=True, slots=True)
class Drifted:
    """Something is not as it should be: what would put it right, and why."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Righted:
    """It is as it should be again, and somebody else has done that."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Repaired:
    """These were done, and `after` seconds after the change was heard they were through."""

    operations: tuple[Operation, ...]
    after: float


@dataclass(frozen=True, slots=True)
class Contested:
    """Somebody changes it back each time: it was repaired `times` times and is left for `gap` seconds."""

    operation: Operation
    times: int
    gap: float


@dataclass(frozen=True, slots=True)
class Blocked:
    """What somebody else made stands where something of ours belongs; nothing is done about either."""

    words: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Looking or repairing failed; the next attempt is in `gap` seconds, or when something changes."""

    error: LtkError
    gap: float


Said: TypeAlias = Drifted | Righted | Repaired | Contested | Blocked | Failed


class Vigil:
    """What is known to differ, and what is owed: a look at `due`, and a repair when `may_repair`."""

    def __init__(self) -> None:
        self._differs: dict[Key, Operation] = {}
        self._differs_since = 0.0
        self._blocked: frozenset[str] = frozenset()
        self._fights = Fights()
        self._said_times: dict[Key, int] = {}  # in which round of a fight that was said last
        self._since: float | None = None  # the first change that nobody has looked at yet, and the last
        self._last = 0.0
        self._rested = -math.inf  # no look before this, and one at the latest then:
        self._owed = -math.inf
        self._retry = -math.inf  # no repair before this
        self._backoff = Backoff(FIRST_RETRY, LONGEST_RETRY)
        self._looks_failed = False
        self._complaint = ""

    @property
    def due(self) -> float:
        """When to look next (seconds, monotonic)."""
        if self._since is None:
            return self._owed
        burst_is_over = min(self._last + QUIET, self._since + LONGEST_BURST)
        return min(self._owed, max(burst_is_over, self._rested))

    def heard(self, now: float) -> None:
        """Something has changed, or may have."""
        if self._since is None:
            self._since = now
        self._last = now

    def busy(self, now: float) -> None:
        """Another ltk is at work: what is there at the moment says nothing."""
        self._owed = self._rested = now + BUSY

    def looked(
        self, began: float, ended: float, drift: Sequence[Operation], blocked: Iterable[str] = ()
    ) -> list[Said]:
        """A look was made: this would have to be done, and that is in the way. Returns what is new."""
        found = {each.resource.key: each for each in drift}
        blocked = frozenset(blocked)
        said: list[Said] = [Blocked(words) for words in sorted(blocked - self._blocked)]
        said += [Drifted(each) for key, each in found.items() if _differ(each, self._differs.get(key))]
        said += [Righted(each) for key, each in self._differs.items() if key not in found]
        if found and not self._differs:
            self._differs_since = began if self._since is None else min(self._since, began)
        self._differs, self._blocked, self._since = found, blocked, None
        self._looks_failed = False
        took = ended - began
        self._rested = ended + min(SHARE * took, LONGEST_REST)
        self._owed = ended + max(LOOK_AGAIN if found or blocked else LOOK_AROUND, SHARE * took)
        if not found:
            self._recovered()
        return said

    def may_repair(self, now: float) -> bool:
        """Whether what differs is to be repaired now."""
        return bool(self._differs) and now >= self._may_repair_at()

    def _may_repair_at(self) -> float:
        # One that may be repaired takes the others along: a repair is of everything.
        return max(self._retry, min(self._fights.may_be_repaired(key) for key in self._differs))

    def postponed(self, now: float) -> list[Said]:
        """What differs is left alone for now. Returns what has to be said about that."""
        if not self._differs:
            return []
        self._owed = min(self._owed, self._may_repair_at())
        said: list[Said] = []
        for key, operation in self._differs.items():
            times, gap = self._fights.times(key), self._fights.may_be_repaired(key) - now
            if gap > 0 and self._said_times.get(key) != times:
                self._said_times[key] = times
                said.append(Contested(operation, times, gap))
        return said

    def repaired(
        self, operations: Sequence[Operation], now: float, in_vain: Sequence[Operation] = ()
    ) -> list[Said]:
        """These were done and looked at again; those `in_vain` were done too, and are not so any more."""
        self._fights.repaired([each.resource.key for each in (*operations, *in_vain)] or self._differs, now)
        self._recovered()
        if in_vain or not operations:
            self._owed = now  # what it is now, and whether somebody else was first, the next look will say
        if not operations:
            return []
        self._differs = {}
        return [Repaired(tuple(operations), now - self._differs_since)]

    def failed(self, error: LtkError, now: float, *, looking: bool = False) -> list[Said]:
        """A look or a repair has failed. It is said once, and not with each attempt.

        Of a look it is said when the next one fails too: what goes while it is looked at is no failure.
        """
        gap = self._backoff.next()
        self._since, self._owed = None, now + gap
        if not looking:
            self._retry = self._owed
        first, self._looks_failed = not self._looks_failed, looking
        if (looking and first) or str(error) == self._complaint:
            return []
        self._complaint = str(error)
        return [Failed(error, gap)]

    def _recovered(self) -> None:
        self._retry, self._complaint = -math.inf, ""
        self._backoff.reset()


def _differ(operation: Operation, before: Operation | None) -> bool:
    return before is None or (operation.action, operation.reason) != (before.action, before.reason)
