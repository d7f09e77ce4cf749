"""Who changes back what ltk puts right: told from a slip of the hand by how often. Pure: the time is given.

Two programs that both insist would change the same thing for ever, as fast as they can. ltk gives way more
and more: the first repairs come at once, since anybody may slip twice, the later ones with growing gaps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ltk.reconcile.resources import Key

AT_ONCE = 3  # repairs of one thing in a row that need not wait
FIRST_GAP = 1.0  # seconds between the last of these and the next
LONGEST_GAP = 60.0  # seconds
MOST_DOUBLINGS = 10  # of the first gap; a fight of a day would come to numbers that no float holds
CALM = 10.0  # seconds, beyond the gap, after which it is not the same fight any more


@dataclass(frozen=True, slots=True)
class _Round:
    """The newest repair of something: the how manyth in a row, and when it was."""

    number: int
    when: float

    @property
    def gap(self) -> float:
        if self.number < AT_ONCE:
            return 0.0
        doublings = min(self.number - AT_ONCE, MOST_DOUBLINGS)
        return float(min(FIRST_GAP * 2**doublings, LONGEST_GAP))


class Fights:
    """Remembers what was repaired, for as long as that can matter."""

    def __init__(self) -> None:
        self._rounds: dict[Key, _Round] = {}

    def repaired(self, keys: Iterable[Key], now: float) -> None:
        """Take note of one repair of each of these, at `now` (seconds, monotonic)."""
        self._rounds = {key: each for key, each in self._rounds.items() if now <= each.when + each.gap + CALM}
        for key in keys:
            before = self._rounds.get(key)
            self._rounds[key] = _Round(1 if before is None else before.number + 1, now)

    def may_be_repaired(self, key: Key) -> float:
        """The moment from which on it may be repaired again; the distant past where it never was."""
        known = self._rounds.get(key)
        return float("-inf") if known is None else known.when + known.gap

    def times(self, key: Key) -> int:
        """How often in a row it was repaired."""
        known = self._rounds.get(key)
        return 0 if known is None else known.number
