"""Several devices heard at once, and what they give in the order of the kernel's clock.

Each device has a queue of its own, so that a packet which was earlier may be read later. Whatever is read
is held until every queue has been emptied of what is older (`InOrder`).
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import NamedTuple

from ltk.errors import LtkError
from ltk.kernel import netns
from ltk.kernel.packets import NANOSECONDS, Link, Packet, PacketSocket

BATCH = 256  # packets of one device at a time, so that all have their turn
# nanoseconds from a packet's time until it is surely in its queue: the kernel may be interrupted in between,
# on a virtual machine for long
SLACK = 50_000_000
ERRORS = 3  # of one device in a row: that it went down, and that it went away
HELD = 50_000  # packets; whatever the clocks say, no more wait for others
LOOK_AROUND = 1.0  # seconds between two looks whether the lab is still there


class Captured(NamedTuple):
    """A packet and the number of the device that gave it."""

    source: int
    packet: Packet


class InOrder:
    """Puts packets of several sources into the order of their times."""

    def __init__(self, most: int = HELD) -> None:
        self._heap: list[tuple[int, int, Captured]] = []
        self._arrival = itertools.count()  # those of the same moment stay as they were read
        self._most = most

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, captured: Captured) -> None:
        """Hold a packet."""
        heapq.heappush(self._heap, (captured.packet.time, next(self._arrival), captured))

    def until(self, horizon: float) -> list[Captured]:
        """Take out, in their order, those no later than `horizon` (nanoseconds); and what is too many."""
        found = []
        while self._heap and (self._heap[0][0] <= horizon or len(self._heap) > self._most):
            found.append(heapq.heappop(self._heap)[2])
        return found


class Tap:
    """One device that is heard, under the name `node:device`."""

    def __init__(self, scope: str, node: str, device: str) -> None:
        """Raises as PacketSocket does."""
        self.scope = scope
        self.node = node
        self.name = f"{node}:{device}"
        self.problem: str | None = None  # what the kernel said last about the device
        self._socket = PacketSocket(scope, device)

    @property
    def link(self) -> Link:
        """What its packets begin with."""
        return self._socket.link

    def fileno(self) -> int:
        """The descriptor, to wait for packets with."""
        return self._socket.fileno()

    def read(self) -> Packet | None:
        """The next packet, None when there is none for now; that the device went down is noted."""
        for _ in range(ERRORS):
            try:
                return self._socket.read()
            except LtkError as error:
                self.problem = error.problem  # what had passed before is still there
        return None

    def dropped(self) -> int:
        """How many packets have passed that the capture had no room for."""
        return self._socket.dropped()

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()


class Stop:
    """Ctrl-C and SIGTERM become a descriptor that is readable, for as long as the body takes."""

    def __enter__(self) -> Stop:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = {each: signal.signal(each, self._note) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """The descriptor, to wait for the signal with."""
        return self._read

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        try:
            os.write(self._write, b"!")
        except BlockingIOError:  # pressed so often that the pipe is full: it has been heard
            return


def follow(taps: Sequence[Tap], stop: Stop, seconds: float | None) -> Iterator[list[Captured]]:
    """Yield the packets of all `taps` in their order, a few at a time, until there is a reason to end.

    That is `stop`, or `seconds` having passed, or the lab being taken down. What had passed a device by
    then is still read. Whoever asks for no more ends it as well.
    """
    poller = select.poll()
    poller.register(stop, select.POLLIN)
    by_descriptor = {}
    for number, tap in enumerate(taps):
        poller.register(tap, select.POLLIN)
        by_descriptor[tap.fileno()] = number
    held = InOrder()
    ends = math.inf if seconds is None else time.monotonic() + seconds
    looked = time.monotonic()
    while True:
        before = time.time_ns()
        ready = [fd for fd, _ in poller.poll(_patience(ends, bool(held)))]
        now = time.monotonic()
        if stop.fileno() in ready or now >= ends:
            break
        if now >= looked + LOOK_AROUND:
            looked = now
            if not all(netns.is_namespace(tap.scope) for tap in taps if tap.scope):
                for tap in taps:
                    tap.problem = "the lab was taken down"
                break
        # Whatever was in a queue before the look is known to be there; what came since may be in any of them.
        lasts = [_batch(number, taps[number], held) for number in map(by_descriptor.__getitem__, ready)]
        if batch := held.until(min([before - SLACK, *(last for last in lasts if last is not None)])):
            yield batch
    yield from _rest(taps, held, time.time_ns())


def _patience(ends: float, is_holding: bool) -> float:
    """Milliseconds to wait for packets."""
    left = min(LOOK_AROUND, SLACK / NANOSECONDS if is_holding else math.inf, ends - time.monotonic())
    return max(0.0, left) * 1000


def _rest(taps: Sequence[Tap], held: InOrder, end: int) -> Iterator[list[Captured]]:
    """What had passed by `end` (nanoseconds since 1970) and waits in the queues, however much still comes."""
    left = dict.fromkeys(range(len(taps)), end)
    while left:
        read = {number: _batch(number, taps[number], held, end) for number in left}
        left = {number: last for number, last in read.items() if last is not None}
        if batch := held.until(min(left.values(), default=math.inf)):
            yield batch


def _batch(number: int, tap: Tap, held: InOrder, end: float = math.inf) -> int | None:
    """Read some packets of one device; return the time of the last, None where all by `end` are read."""
    last = None
    for _ in range(BATCH):
        packet = tap.read()
        if packet is None or packet.time > end:
            return None
        held.add(Captured(number, packet))
        last = packet.time
    return last
