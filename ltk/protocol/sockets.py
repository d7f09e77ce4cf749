"""The node's sockets beside its main one, as numbers: what a NAT shows of each is another port.

A socket is there from the first datagram that is sent from it on. The shell opens it then, on a port that the
system chooses, and closes those that `poll_closed` names. Numbers are never used again, so that what arrives
late is not taken for something else.
"""

from __future__ import annotations

from collections import deque
from math import inf

from ltk.protocol.messages import STUN_SOCKET

MAX_SOCKETS = 320  # of one node: a round of the birthday search, and some for what was found
KEPT_FOR = 30.0  # seconds without a sign: the other side probes a path that it uses every 20 s at the latest


class Sockets:
    """Those of one node, for all of its pairs. `searcher` is whose round of the birthday search it is now."""

    __slots__ = ("_last", "_open", "searcher", "unneeded")

    def __init__(self) -> None:
        self._last = STUN_SOCKET
        self._open: set[int] = set()
        self.unneeded: deque[int] = deque()  # what `poll_closed` has yet to name
        self.searcher: object | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, number: int) -> bool:
        return number in self._open

    def open(self) -> int | None:
        """Return the number of one more socket; None where there are enough."""
        if len(self._open) >= MAX_SOCKETS:
            return None
        self._last += 1
        self._open.add(self._last)
        return self._last

    def close(self, number: int) -> None:
        """Need a socket no more."""
        self._open.discard(number)
        self.unneeded.append(number)

    def poll_closed(self) -> int | None:
        """Return the next that is to be closed; None where there is no more."""
        return self.unneeded.popleft() if self.unneeded else None


class Held:
    """Those that one pair has opened, with when something authentic was last heard at each.

    More than one may have been found by the other side, and which of them it uses is its own choice: so each
    stays for as long as it is heard.
    """

    __slots__ = ("_heard", "_sockets")

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._heard: dict[int, float] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._heard

    def __len__(self) -> int:
        return len(self._heard)

    def open(self) -> int | None:
        """Open one more; None where the node has enough."""
        number = self._sockets.open()
        if number is not None:
            self._heard[number] = -inf
        return number

    def heard(self, number: int, now: float) -> None:
        """Note that something authentic has arrived there."""
        self._heard[number] = now

    def tidy(self, used: int, now: float) -> list[int]:
        """Close all but the one that is `used` and those that were heard lately; return which."""
        gone = [each for each, at in self._heard.items() if each != used and at + KEPT_FOR <= now]
        for number in gone:
            del self._heard[number]
            self._sockets.close(number)
        return gone

    def next_moment(self, used: int) -> float:
        """Return when one of those that were heard is to be closed, if nothing more is."""
        kept = [at + KEPT_FOR for each, at in self._heard.items() if each != used and at > -inf]
        return min(kept, default=inf)
