"""The sliding window that lets each message counter pass once (RFC 6479)."""

from __future__ import annotations

from itertools import pairwise

WINDOW = 8192  # counters: the newest and those that may still arrive late; WireGuard's size
_BLOCK_BITS = 1024
_BLOCKS = WINDOW // _BLOCK_BITS + 1  # a window that starts inside a block touches one more


class ReplayWindow:
    """Which counters of a session have been seen.

    A ring of blocks of bits: moving forward clears whole blocks instead of shifting all bits. The
    blocks are integers, so that a window costs memory only where counters were seen.
    """

    __slots__ = ("_blocks", "_greatest")

    def __init__(self) -> None:
        self._blocks = [0] * _BLOCKS
        self._greatest = 0

    def accept(self, counter: int) -> bool:
        """Return whether `counter` is new, and note it; call it only for authentic messages.

        Counters that lie `WINDOW` or more behind the greatest are never new.
        """
        block = counter // _BLOCK_BITS
        if counter > self._greatest:
            newest = self._greatest // _BLOCK_BITS
            for passed in range(newest + 1, min(block, newest + _BLOCKS) + 1):
                self._blocks[passed % _BLOCKS] = 0
            self._greatest = counter
        elif counter + WINDOW <= self._greatest:
            return False
        slot = block % _BLOCKS
        bit = 1 << (counter % _BLOCK_BITS)
        if self._blocks[slot] & bit:
            return False
        self._blocks[slot] |= bit
        return True

    def accept_burst(self, counters: tuple[int, ...]) -> bool:
        """Note counters that rise and are newer than any before; else note none and return False.

        That is how a burst arrives of which at most something was lost: if nothing was, its counters cost
        one step, not one each.
        """
        first, last, count = counters[0], counters[-1], len(counters)
        if first <= self._greatest:
            return False
        block, low = divmod(first, _BLOCK_BITS)
        # The ends alone do not tell: between them the others may lie in any order, and elsewhere.
        if low + count <= _BLOCK_BITS and counters == tuple(range(first, first + count)):
            self.accept(first)
            self._blocks[block % _BLOCKS] |= ((1 << count) - 1) << low
            self._greatest = last
            return True
        if any(earlier >= later for earlier, later in pairwise(counters)):
            return False
        for counter in counters:
            self.accept(counter)
        return True
