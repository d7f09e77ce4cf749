"""The node's TCP streams, as numbers below zero: an endpoint with such a `socket` is reached over it.

A stream carries the same datagrams as a UDP socket does, and proves as little: whoever speaks is who the
cryptography says. Here is decided which streams there are: those that a client opens, and those that a server
lets in, which are bounded, and closed where nobody proves to be at the other end. The shell connects,
accepts and closes what it is told. Numbers are never used again, as those of sockets are not.
"""

from __future__ import annotations

from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING

from ltk.protocol.messages import Endpoint
from ltk.protocol.timers import Timer, TimerQueue, Timers

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

MAX_ACCEPTED = 512  # streams in all; half of the descriptors that a process has without asking for more
MAX_PER_SOURCE = 128  # of one IPv4 address or IPv6 /64: clients behind one NAT share it
MAX_UNPROVEN = 128  # on which nothing authentic has arrived; the oldest makes room
PROVEN_WITHIN = 10.0  # seconds; a handshake with a cookie takes 5.3 s and three round trips
TEND_EVERY = 30.0  # seconds between two looks at the streams whose peer has left them


class Streams:
    """Those of one node. A server's belong to the peer that was last heard there, or to nobody yet."""

    __slots__ = ("_last", "_opened", "_owners", "_per_source", "_timers", "_unproven", "unneeded", "wanted")

    def __init__(self, queue: TimerQueue) -> None:
        self._timers = Timers(queue, self._tend)
        self._last = 0
        self.wanted: deque[Endpoint] = deque()  # what `poll_connect` has yet to name
        self.unneeded: deque[int] = deque()  # what `poll_closed` has yet to name
        self._opened: set[int] = set()
        self._owners: dict[int, tuple[Endpoint, Peer | None]] = {}  # of those that were accepted
        self._unproven: dict[int, float] = {}  # of those, until when: the oldest first
        self._per_source: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._opened) + len(self._owners)

    def __contains__(self, number: int) -> bool:
        return number in self._opened or number in self._owners

    # A client's.

    def open(self, to: Endpoint) -> Endpoint:
        """Have a stream to `to` opened; return the endpoint that is reached over it, once it is open."""
        stream = to._replace(socket=self._new_number())
        self._opened.add(stream.socket)
        self.wanted.append(stream)
        return stream

    # A server's.

    def accept(self, source: Endpoint, now: float) -> int | None:
        """Let in a stream from `source` and return its number; None where there are enough."""
        prefix = _prefix(source)
        if self._per_source[prefix] >= MAX_PER_SOURCE:
            return None
        if len(self._unproven) >= MAX_UNPROVEN or (len(self._owners) >= MAX_ACCEPTED and self._unproven):
            self.close(next(iter(self._unproven)))
        if len(self._owners) >= MAX_ACCEPTED:
            return None
        number = self._new_number()
        self._owners[number] = (source._replace(socket=number), None)
        self._unproven[number] = now + PROVEN_WITHIN
        self._per_source[prefix] += 1
        self._wake(now + PROVEN_WITHIN)
        return number

    def proven(self, number: int, peer: Peer, now: float) -> None:
        """Note that `peer` has said something authentic there."""
        if number in self._owners:
            self._owners[number] = (self._owners[number][0], peer)
            self._unproven.pop(number, None)
            self._wake(now + TEND_EVERY)

    # Both.

    def close(self, number: int) -> None:
        """Need a stream no more."""
        if number in self:
            self.ended(number)
            self.unneeded.append(number)

    def ended(self, number: int) -> Peer | None:
        """Forget a stream that has ended; return whose it was, where that is known."""
        self._opened.discard(number)
        self._unproven.pop(number, None)
        source, owner = self._owners.pop(number, (None, None))
        if source is not None:
            prefix = _prefix(source)
            self._per_source[prefix] -= 1
            if not self._per_source[prefix]:
                del self._per_source[prefix]
        return owner

    def poll_connect(self) -> Endpoint | None:
        """Return the next that is to be opened; None where there is no more."""
        while self.wanted:
            stream = self.wanted.popleft()
            if stream.socket in self._opened:
                return stream
        return None

    def poll_closed(self) -> int | None:
        """Return the next that is to be closed; None where there is no more."""
        return self.unneeded.popleft() if self.unneeded else None

    def _new_number(self) -> int:
        self._last -= 1
        return self._last

    def _wake(self, at: float) -> None:
        if not self._timers.is_armed(Timer.TEND_STREAMS):
            self._timers.arm(Timer.TEND_STREAMS, at)

    def _tend(self, _timer: Timer, now: float) -> None:
        """Close those where nobody has proven to be, and those that their peer has left or is gone from."""
        for number in [number for number, until in self._unproven.items() if until <= now]:
            self.close(number)
        for number, (stream, owner) in list(self._owners.items()):
            if owner is not None and (owner.endpoint != stream or not owner.has_session(now)):
                self.close(number)
        if self._owners:
            self._wake(min(next(iter(self._unproven.values()), inf), now + TEND_EVERY))


def _prefix(source: Endpoint) -> bytes:
    address = source.packed()[:-2]
    return address if len(address) == 4 else address[:8]
