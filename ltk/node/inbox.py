"""What has arrived at the socket faster than it is taken: a queue for each sender, served in turns.

The socket's own queue is one for all. Whoever fills it delays everybody by all of it, and once it is full
whatever comes next is lost, whosever it is. To read a burst costs a tenth of what it costs to take it, so a
node that has fallen behind reads all there is, and takes from the senders in turns, by the work that they
make: surplus round robin, a variant of Shreedhar and Varghese, "Efficient fair queuing using deficit round
robin", 1996. How much may wait of one sender is bounded by what room is left for all (Choudhury and Hahne,
"Dynamic queue length thresholds", 1998): one alone gets half of it, and a newcomer always finds some.

A node that keeps up has nothing here.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from ltk.node.udp import Udp
from ltk.protocol.messages import Endpoint

LIMIT = 4 << 20  # bytes in all queues; at 2 Gbit/s half of it, all that one sender gets, is 8 ms
READS = 256  # in one go: a millisecond, in which not more arrives than was read
ENTRY = 512  # bytes; about what one more that waits costs besides its data
QUANTUM = 16  # units of work in one turn of a sender: a burst as large as they come

QUEUE_FULL = "queue-full"  # too much of its sender waited already


def work(size: int) -> int:
    """Return about how much work that many bytes make that arrived, or left, at once.

    A unit is that of a packet by itself, some 10 us; in a burst, three packets of 1400 bytes make as much.
    """
    return 1 + (size >> 12)


class Arrived(NamedTuple):
    """Datagrams of one sender, back to back: each of `size` bytes, but the last may be shorter."""

    data: memoryview
    size: int
    source: Endpoint


class _Queue:
    """What waits of one sender, and how much work it may still make before the others' turn."""

    __slots__ = ("arrived", "credit", "size")

    def __init__(self) -> None:
        self.arrived: deque[Arrived] = deque()
        self.size = 0  # bytes
        self.credit = QUANTUM


class Inbox:
    """The queues. `drops` counts the datagrams that found no room."""

    __slots__ = ("_drops", "_queues", "_size", "_turns")

    def __init__(self, drops: Counter[str]) -> None:
        self._drops = drops
        self._queues: dict[Endpoint, _Queue] = {}
        self._turns: deque[Endpoint] = deque()  # of those with a queue
        self._size = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._turns

    def fill(self, udp: Udp, buffer: memoryview) -> None:
        """Read what has arrived, by way of `buffer`, and let it wait."""
        for _ in range(READS):
            if (received := udp.receive(buffer)) is None:
                return
            length, size, source = received
            if source is not None:
                self._put(buffer[:length], size, source)

    def _put(self, data: memoryview, size: int, source: Endpoint) -> None:
        queue = self._queues.get(source)
        length = len(data) + ENTRY
        if (0 if queue is None else queue.size) + length > LIMIT - self._size:
            self._drops[QUEUE_FULL] += -(-len(data) // size) if size else 1
            return
        if queue is None:
            queue = self._queues[source] = _Queue()
            self._turns.append(source)
        queue.arrived.append(Arrived(memoryview(bytes(data)), size, source))
        queue.size += length
        self._size += length

    def take(self) -> Arrived | None:
        """Return what is next; None where nothing waits."""
        while self._turns:
            source = self._turns[0]
            queue = self._queues[source]
            if queue.credit <= 0:
                queue.credit += QUANTUM
                self._turns.rotate(-1)
                continue
            arrived = queue.arrived.popleft()
            queue.credit -= work(len(arrived.data))
            queue.size -= len(arrived.data) + ENTRY
            self._size -= len(arrived.data) + ENTRY
            if not queue.arrived:
                del self._queues[source]
                self._turns.popleft()
            return arrived
        return None
