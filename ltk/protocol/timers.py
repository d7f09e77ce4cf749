"""The timers of the peers, by name, and the one moment at which the next of them is due.

Every packet moves a few of its peer's deadlines, so moving one must cost next to nothing. A peer's
deadlines are a short list; the queue over all peers holds, for each, a moment that is never later
than its earliest deadline. A deadline that moves later leaves the queue alone: the peer is woken too
early, finds nothing due, and is queued again for what is then its earliest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count


class Timer(IntEnum):
    """When something must happen if nothing else does. Names say what is owed."""

    RETRY_HANDSHAKE = 0  # asked, not answered
    OWE_KEEPALIVE = 1  # heard data, said nothing
    SUSPECT_PEER = 2  # said data, heard nothing
    PERSISTENT_KEEPALIVE = 3  # nothing passed in either direction
    REPEAT_HELLO = 4  # said HELLO, not acknowledged
    ERASE_SESSIONS = 5  # no new session for too long
    DOUBT_PEER = 6  # said something that an ltk peer answers, heard nothing
    TEND_PATHS = 7  # a probe is due, or its answer, or the next attempt
    OPEN_CHANNELS = 8  # asked for a relay channel, not answered
    ANNOUNCE = 9  # not acknowledged, or not said for a while
    ASK_STUN = 10  # asked, not answered
    LOOK_FOR_STEP = 11  # asked from fresh sockets, not all answered
    TRY_STREAM = 12  # asked for a session, not answered that way
    ASK_UDP = 13  # the server is reached over TCP; does it answer by UDP?
    LEAVE_STREAM = 14  # what was under way on it has arrived
    TEND_STREAMS = 15  # somebody may not have proven in time who they are


class TimerQueue:
    """The earliest wake-up of all peers."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timers]] = []
        self._order = count()  # breaks ties first come, first served

    def push(self, moment: float, timers: Timers) -> None:
        """Wake `timers` at `moment`, unless by then it is queued for another."""
        heappush(self._heap, (moment, next(self._order), timers))

    def next_timeout(self) -> float | None:
        """Return a moment that is never after the earliest deadline; None where there is none."""
        heap = self._heap
        while heap and heap[0][2].wake != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def expire(self, now: float) -> None:
        """Call what is due, in the order of the deadlines as far as peers are woken for them."""
        while (moment := self.next_timeout()) is not None and moment <= now:
            heappop(self._heap)[2].expire(now)


class Timers:
    """The deadlines of one peer, in seconds of the engine's clock; infinity where disarmed.

    `deadlines` has them by number. Whoever sets one there has to call `wake_at` where it is before `wake`.
    """

    __slots__ = ("_fire", "_queue", "deadlines", "wake")

    def __init__(self, queue: TimerQueue, fire: Callable[[Timer, float], None]) -> None:
        """`fire(timer, now)` is called for each timer that is due; it may arm any timer."""
        self._queue = queue
        self._fire = fire
        self.deadlines = [math.inf] * len(Timer)
        self.wake = math.inf  # the moment for which this peer is queued

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set the deadline of `timer`, whatever it was."""
        self.deadlines[timer] = deadline
        if deadline < self.wake:
            self.wake_at(deadline)

    def wake_at(self, moment: float) -> None:
        """Be queued for a moment that is before `wake`."""
        self.wake = moment
        self._queue.push(moment, self)

    def disarm(self, timer: Timer) -> None:
        """Owe this no more."""
        self.deadlines[timer] = math.inf

    def disarm_all(self) -> None:
        """Owe nothing and leave the queue."""
        self.deadlines = [math.inf] * len(Timer)
        self.wake = math.inf

    def is_armed(self, timer: Timer) -> bool:
        """Return whether `timer` has a deadline."""
        return self.deadlines[timer] != math.inf

    def armed(self) -> Iterator[tuple[Timer, float]]:
        """Yield each timer that has a deadline, with it."""
        return ((timer, self.deadlines[timer]) for timer in Timer if self.is_armed(timer))

    def expire(self, now: float) -> None:
        """Fire what is due, earliest first, then queue for what remains."""
        self.wake = math.inf
        for deadline, timer in sorted((deadline, timer) for timer, deadline in self.armed()):
            # A timer that fired before may have moved or disarmed this one.
            if deadline <= now and self.deadlines[timer] <= now:
                self.deadlines[timer] = math.inf
                self._fire(timer, now)
        earliest = min(self.deadlines)
        if earliest < self.wake:
            self.wake = earliest
            self._queue.push(earliest, self)
