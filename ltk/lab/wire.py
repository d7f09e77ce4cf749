"""A wire's decisions, without the wire: which frames are lost, and when the others arrive.

A `Direction` decides about each frame as it enters; `InFlight` holds, for all directions of all
wires, what has entered and not yet arrived. Time is an argument (seconds), randomness is seeded: the
nth packet of a direction meets the same fate in every run.

The wire stands for a whole path. So it is no place where addresses are resolved: ARP and neighbour
discovery pass at once and are never lost, and the first packet of a conversation takes no longer than
the second. A packet goes through it in this order:

    loss       it never enters, by chance
    rate       it waits for those before it, and takes the time that its bytes take; where those that wait
               would take too long (QUEUE_TIME) it is refused at once
    delay      it takes this time more, give or take the jitter, and arrives after those before it
    reorder    by chance it does without the delay, and so arrives before those that are still on their way
    duplicate  by chance it enters once more, right behind itself, and is neither lost nor early then

The order of packets stays as it is, whatever the jitter, but for those that are reordered on purpose and
after a change of the conditions.

Frames are what a TAP device with IFF_VNET_HDR gives: a virtio header, then Ethernet.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from random import Random

from ltk.reconcile.resources import Conditions

VIRTIO_HEADER = 10  # bytes; struct virtio_net_hdr of linux/virtio_net.h
MICROSECONDS = 1e-6  # seconds
MILLION = 1_000_000
QUEUE_BYTES = 32 << 20  # a direction's frames in flight; 1 Gbit/s for a quarter of a second
QUEUE_TIME = 0.1  # seconds of a limited link; of more, voices would be late and TCP slow to hear of it
QUEUE_FRAMES = 16  # of full size always find room, which on a slow link is longer than that
FULL_FRAME = 1514  # bytes; Ethernet's header and 1500
BURST_RATE = 100_000_000  # bits per second
FRAME_OVERHEAD = 128  # bytes; what a frame takes in memory beside its own, so that tiny ones are bounded too

_TYPE = slice(VIRTIO_HEADER + 12, VIRTIO_HEADER + 14)
_ARP = b"\x08\x06"  # RFC 826
_IPV6 = b"\x86\xdd"  # RFC 2464
_NEXT_HEADER = VIRTIO_HEADER + 14 + 6  # RFC 8200, section 3
_ICMPV6 = 58
_ICMPV6_TYPE = VIRTIO_HEADER + 14 + 40
_NEIGHBOUR_DISCOVERY = range(133, 138)  # router solicitation to redirect; RFC 4861, section 4


class Direction:
    """One of the two ways through a wire. Counts what became of its frames."""

    __slots__ = (
        "_chances",
        "_conditions",
        "_last_arrival",
        "_line_free",
        "_losses",
        "_salt",
        "_variations",
        "_waiting_limit",
        "carried",
        "doubled",
        "lost",
        "overflowed",
        "queued",
        "reordered",
    )

    def __init__(self, conditions: Conditions, salt: str) -> None:
        """`salt` tells this direction from the other one, which has the same seed and other randomness."""
        self._conditions = conditions
        self._salt = salt
        self.carried = 0  # frames let in
        self.lost = 0  # frames lost as the conditions say
        self.overflowed = 0  # frames for which the queue had no room
        self.reordered = 0  # frames that did without the delay
        self.doubled = 0  # frames that entered twice
        self.queued = 0  # bytes in flight
        self._last_arrival = 0.0  # no frame that follows arrives before this
        self._line_free = 0.0  # when the last that entered has left a line with a rate
        self._waiting_limit = _waiting_limit(conditions.rate)
        self._begin()

    def change(self, conditions: Conditions) -> None:
        """Treat frames by `conditions` from now on; those in flight arrive as they would have.

        The randomness goes on where it was, unless it is another seed's.
        """
        other_seed = conditions.seed != self._conditions.seed
        self._conditions = conditions
        self._last_arrival = 0.0
        self._line_free = 0.0
        self._waiting_limit = _waiting_limit(conditions.rate)
        if other_seed:
            self._begin()

    def enter(self, frame: bytes, now: float) -> float | None:
        """When the frame that enters at `now` will arrive; None where it never does."""
        if resolves_addresses(frame):
            self.queued += len(frame) + FRAME_OVERHEAD
            return now
        conditions = self._conditions
        if conditions.loss and self._losses.random() * MILLION < conditions.loss:
            self.lost += 1
            return None
        sent = self._sent(frame, now)
        if sent is None:
            return None
        if conditions.reorder and self._chances.random() * MILLION < conditions.reorder:
            self.reordered += 1
            return sent
        return self._after_the_delay(sent)

    def enter_again(self, frame: bytes, now: float) -> float | None:
        """When the double of a frame that has been let in will arrive; None where it has none."""
        duplicate = self._conditions.duplicate
        if not duplicate or resolves_addresses(frame) or self._chances.random() * MILLION >= duplicate:
            return None
        sent = self._sent(frame, now)
        if sent is None:
            return None
        self.doubled += 1
        return self._after_the_delay(sent)

    def _sent(self, frame: bytes, now: float) -> float | None:
        """When the frame has left the line; None where there is no room for it."""
        if self.queued + len(frame) + FRAME_OVERHEAD > QUEUE_BYTES:
            self.overflowed += 1
            return None
        sent = now
        if rate := self._conditions.rate:
            begin = max(now, self._line_free)
            if begin - now > self._waiting_limit:
                self.overflowed += 1
                return None
            sent = self._line_free = begin + (len(frame) - VIRTIO_HEADER) * 8 / rate
        self.queued += len(frame) + FRAME_OVERHEAD
        self.carried += 1
        return sent

    def _after_the_delay(self, sent: float) -> float:
        conditions = self._conditions
        delay = float(conditions.delay)
        if conditions.jitter:
            delay += self._variations.uniform(-conditions.jitter, conditions.jitter)
        self._last_arrival = max(self._last_arrival, sent + delay * MICROSECONDS)
        return self._last_arrival

    def leave(self, frame: bytes) -> None:
        """Take note that a frame that was let in has arrived."""
        self.queued -= len(frame) + FRAME_OVERHEAD

    def _begin(self) -> None:
        # Sources of their own, so that a change of the jitter does not change which packets are lost.
        self._losses = Random(f"{self._conditions.seed} {self._salt} loss")
        self._variations = Random(f"{self._conditions.seed} {self._salt} jitter")
        self._chances = Random(f"{self._conditions.seed} {self._salt} order")


class InFlight:
    """The frames that have entered any wire and not yet arrived, by the time of their arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Direction, bytes]] = []
        self._order = itertools.count()  # those of the same moment arrive as they entered

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, direction: Direction, frame: bytes, now: float) -> None:
        """Let a frame into `direction` at `now`, unless it is lost."""
        arrival = direction.enter(frame, now)
        if arrival is None:
            return
        heapq.heappush(self._heap, (arrival, next(self._order), direction, frame))
        arrival = direction.enter_again(frame, now)
        if arrival is not None:
            heapq.heappush(self._heap, (arrival, next(self._order), direction, frame))

    def next_arrival(self) -> float | None:
        """When the next frame arrives; None while nothing is on its way."""
        return self._heap[0][0] if self._heap else None

    def arrived(self, now: float) -> Iterator[tuple[Direction, bytes]]:
        """Take out, in the order of their arrival, the frames that have arrived by `now`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, direction, frame = heapq.heappop(heap)
            direction.leave(frame)
            yield direction, frame


def _waiting_limit(rate: int) -> float:
    """Seconds that a frame may have to wait for those before it, at `rate` bits per second."""
    return max(QUEUE_TIME, QUEUE_FRAMES * FULL_FRAME * 8 / rate) if rate else 0.0


def takes_bursts(conditions: Conditions) -> bool:
    """Whether a burst of up to 64 KiB may be one frame: not where each packet meets a fate of its own.

    Nor where it would hold up a slow line noticeably; at BURST_RATE it takes 5 ms.
    """
    own_fates = conditions.loss or conditions.reorder or conditions.duplicate
    return not own_fates and (not conditions.rate or conditions.rate >= BURST_RATE)


def resolves_addresses(frame: bytes) -> bool:
    """Whether it is ARP or IPv6 neighbour discovery: the link's own business and nobody's packet."""
    kind = frame[_TYPE]
    if kind == _IPV6:
        return (
            len(frame) > _ICMPV6_TYPE
            and frame[_NEXT_HEADER] == _ICMPV6
            and frame[_ICMPV6_TYPE] in _NEIGHBOUR_DISCOVERY
        )
    return kind == _ARP
