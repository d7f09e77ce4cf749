"""What a single-threaded process waits for: descriptors, deadlines and signals, in one epoll."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable

IN = select.EPOLLIN
OUT = select.EPOLLOUT
MOST_EVENTS = 256  # of one wait; those of more descriptors come with the next. Unsaid it is 12 KiB of room
SLEEP = 1e-3  # seconds; what comes more often than that is cheaper when it is taken together
BROKEN = select.EPOLLERR | select.EPOLLHUP  # always reported, whether asked for or not


class Deadline:
    """A call that is owed at `when` (monotonic seconds), until `cancel`."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Owe nothing any more; may be said twice, and after the call."""
        self.call = None


class Poller:
    """Calls back when a watched descriptor is ready or a deadline has come.

    Level-triggered: a callback may read as little as it likes and is called again for the rest.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._epoll = select.epoll()
        self._clock = clock
        self._ready: dict[int, Callable[[int], None]] = {}
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self.slept = False  # whether the last wait was as long as SLEEP
        self._order = itertools.count()  # deadlines of the same moment come in the order they were set

    def watch(self, descriptor: int, mask: int, ready: Callable[[int], None]) -> None:
        """Call `ready(mask of what happened)` whenever `descriptor` is ready for something in `mask`."""
        self._epoll.register(descriptor, mask)
        self._ready[descriptor] = ready

    def change(self, descriptor: int, mask: int) -> None:
        """Wait for `mask` at `descriptor` from now on."""
        self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Watch `descriptor` no longer; to be said before it is closed. Nothing to do after `close`."""
        if self._ready.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def later(self, delay: float, call: Callable[[], None]) -> Deadline:
        """Call `call` once, `delay` seconds from now."""
        deadline = Deadline(self._clock() + delay, call)
        heapq.heappush(self._deadlines, (deadline.when, next(self._order), deadline))
        return deadline

    def wait(self, until: float = math.inf) -> None:
        """Sleep until something is ready, a deadline has come or `until` (monotonic seconds); call back."""
        while self._deadlines and self._deadlines[0][2].call is None:
            heapq.heappop(self._deadlines)
        if self._deadlines:
            until = min(until, self._deadlines[0][0])
        began = self._clock()
        timeout = None if until == math.inf else max(0.0, until - began)
        # The callback is looked up before the first one runs: a descriptor that one of them closes
        # may come back under the same number for something else within the same batch.
        events = self._epoll.poll(timeout, MOST_EVENTS)
        self.slept = timeout != 0.0 and self._clock() - began > SLEEP
        if len(events) == 1:
            fd, mask = events[0]
            self._ready[fd](mask)
        else:
            batch = [(fd, mask, self._ready[fd]) for fd, mask in events]
            for fd, mask, ready in batch:
                if self._ready.get(fd) is ready:
                    ready(mask)
        if self._deadlines:
            self._call_what_is_due()

    def close(self) -> None:
        """Watch nothing any more. The descriptors stay open: they belong to whoever watched them.

        A forked child says this first: the epoll instance is shared with the parent, and what the child
        would take out of it one by one would be gone for the parent too.
        """
        self._epoll.close()
        self._ready.clear()
        self._deadlines.clear()

    def _call_what_is_due(self) -> None:
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline = heapq.heappop(self._deadlines)[2]
            call, deadline.call = deadline.call, None
            if call is not None:
                call()


class Signals:
    """Turns signals into calls from the poller, so that no code ever runs between two others."""

    def __init__(
        self, poller: Poller, wanted: Iterable[signal.Signals], arrived: Callable[[int], None]
    ) -> None:
        """Call `arrived(number)` for each of `wanted`. Main thread only; `close` gives them back."""
        self._poller = poller
        self._arrived = arrived
        self._ours, self._kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self._kernels.setblocking(False)
        poller.watch(self._ours.fileno(), IN, self._read)
        self._old_wakeup = signal.set_wakeup_fd(self._kernels.fileno(), warn_on_full_buffer=False)
        self._old_handlers = {number: signal.signal(number, lambda *_: None) for number in wanted}

    def close(self) -> None:
        """Put back whatever handled the signals before."""
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._poller.forget(self._ours.fileno())
        self._ours.close()
        self._kernels.close()

    def _read(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._ours.recv(64):
                if number in self._old_handlers:
                    self._arrived(number)


class Backoff:
    """How long to wait before the next attempt: `first` seconds, then twice as long, at most `limit`."""

    def __init__(self, first: float, limit: float) -> None:
        self._first = first
        self._limit = limit
        self._next = first

    def next(self) -> float:
        """The seconds to wait now; the following wait is longer."""
        delay, self._next = self._next, min(self._next * 2, self._limit)
        return delay

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._next = self._first
