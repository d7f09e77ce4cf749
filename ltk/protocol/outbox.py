"""What an engine has to say after each call: datagrams, packets, events, and counts of refusals."""

from __future__ import annotations

from collections import Counter, deque

from ltk.protocol.drops import Drop
from ltk.protocol.events import Event
from ltk.protocol.messages import Buffer, Endpoint

_ROOM = 1 << 18  # bytes: a full stage of packets, sealed; pages of it that are not used cost nothing


class Outbox:
    """The queues that the engine's polls drain, and the one buffer in which their contents lie.

    Views of the buffer are valid until `begin` is called with the queues drained.
    """

    __slots__ = ("_buffer", "_used", "deliver", "drops", "events", "transmit")

    def __init__(self) -> None:
        self.transmit: deque[tuple[Buffer, Endpoint, int]] = deque()  # with the socket to send from
        self.deliver: deque[Buffer] = deque()
        self.events: deque[Event] = deque()
        self.drops: Counter[Drop] = Counter()
        self._buffer = memoryview(bytearray(_ROOM))
        self._used = 0

    def begin(self) -> None:
        """Start a new call: reuse the buffer, unless something in it was not fetched yet."""
        if not self.transmit and not self.deliver:
            self._used = 0

    def room(self, size: int) -> memoryview:
        """Return `size` writable bytes that nothing else uses until the next call."""
        start = self._used
        end = start + size
        if end > _ROOM:
            return memoryview(bytearray(size))
        self._used = end
        return self._buffer[start:end]

    def drop(self, reason: Drop, count: int = 1) -> Drop:
        """Count a refusal and return its reason."""
        self.drops[reason] += count
        return reason
