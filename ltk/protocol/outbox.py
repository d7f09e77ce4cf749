"""What an engine has to say after each call: datagrams, packets, events, and counts of refusals."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from ltk.protocol.buffers import buffer
from ltk.protocol.drops import Drop
from ltk.protocol.events import Event
from ltk.protocol.messages import Buffer, Endpoint
from ltk.protocol.segments import MAX_BYTES, MAX_DATAGRAMS
from ltk.protocol.vnet import HEADROOM, TAILROOM, Packet

_ROOM = 1 << 18  # bytes: a full stage of packets, sealed; pages of it that are not used cost nothing
_BURST_ROOM = 1 << 17  # bytes: a super-packet in segments of 100 bytes and more


class Transmit(NamedTuple):
    """What is to be sent from one socket, that of `to`: one datagram, or several back to back.

    `size` is that of each of several datagrams but the last, which may be shorter; 0 where it is one.
    `hops` is the hop limit of a single datagram that is not to arrive; 0 for the system's own.
    """

    data: Buffer
    to: Endpoint
    size: int = 0
    hops: int = 0


def datagrams(transmit: Transmit) -> Iterator[Buffer]:
    """Yield the datagrams one by one."""
    data, size = transmit.data, transmit.size
    if not size:
        yield data
    else:
        for begin in range(0, len(data), size):
            yield data[begin : begin + size]


class Outbox:
    """The queues that the engine's polls drain, and the buffers in which their contents lie.

    Views of the buffers are valid until `begin` is called with the queues drained. Datagrams of one size that
    follow each other to one endpoint are joined for one send, where they lie in `room`.
    """

    __slots__ = (
        "_buffer",
        "_burst",
        "_burst_taken",
        "_room_start",
        "_run_count",
        "_run_end",
        "_run_is_open",
        "_run_size",
        "_run_start",
        "_run_to",
        "_transmit",
        "_used",
        "deliver",
        "drops",
        "events",
        "holds_joined",
    )

    def __init__(self) -> None:
        self.deliver: deque[Packet] = deque()
        self.events: deque[Event] = deque()
        self.drops: Counter[Drop] = Counter()
        self._transmit: deque[Transmit] = deque()
        # The last of what is to be sent, which may still grow: datagrams back to back in the buffer, to
        # one endpoint; all but the last have one size. Not an object: there is one for each packet.
        self._run_to: Endpoint | None = None  # None: there is no such
        self._run_start = self._run_end = self._run_size = self._run_count = 0
        self._run_is_open = False  # whether no shorter one has ended it
        self._buffer = buffer(_ROOM)
        self._used = 0
        self._room_start = -1  # where the last room begins; -1: not in the buffer
        self._burst = buffer(_BURST_ROOM)
        self._burst_taken = False
        self.holds_joined = False  # whether views of the joiner's buffer wait to be fetched

    def begin(self) -> None:
        """Start a new call: reuse the buffers, unless something in them was not fetched yet."""
        if self._run_to is None and not self._transmit and not self.deliver:
            self._used = 0
            self._burst_taken = self.holds_joined = False

    @property
    def used(self) -> int:
        """How many bytes wait to be fetched, or were since the last `begin`."""
        return self._used + (_BURST_ROOM if self._burst_taken or self.holds_joined else 0)

    def room(self, size: int) -> memoryview:
        """Return `size` writable bytes that nothing else uses until the next call."""
        start = self._used
        end = start + size
        if end > _ROOM:
            self._room_start = -1
            return memoryview(bytearray(size))
        self._room_start = start
        self._used = end
        return self._buffer[start:end]

    def packet_room(self, size: int) -> Packet:
        """Return the place of a packet of `size` bytes, with what belongs to it, as of `room`."""
        start = self._used
        end = start + HEADROOM + size + TAILROOM
        if end > _ROOM:
            return Packet(memoryview(bytearray(end - start)), HEADROOM, HEADROOM + size)
        self._used = end
        return Packet(self._buffer, start + HEADROOM, end - TAILROOM)

    def burst_room(self, size: int) -> memoryview:
        """Return at least `size` bytes for a burst: always the same ones, unless they are in use."""
        if self._burst_taken or size > _BURST_ROOM:
            return memoryview(bytearray(size))
        self._burst_taken = True
        return self._burst

    def send(self, datagrams: Buffer, to: Endpoint, size: int = 0, hops: int = 0) -> None:
        """Send a datagram, or several, as of Transmit."""
        self._end_run()
        self._transmit.append(Transmit(datagrams, to, size, hops))

    def send_room(self, room: memoryview, to: Endpoint) -> None:
        """Send the datagram that fills what `room` returned last, up to its end."""
        size = len(room)
        if self._room_start < 0:
            self.send(room, to)
            return
        start = self._used - size
        if self._run_to is not None:
            if self._run_takes(start, size, to):
                self._run_count += 1
                self._run_end = self._used
                self._run_is_open = size == self._run_size
                return
            self._end_run()
        self._run_to = to
        self._run_start = start
        self._run_end = self._used
        self._run_size = size
        self._run_count = 1
        self._run_is_open = True

    def _run_takes(self, start: int, size: int, to: Endpoint) -> bool:
        """Return whether a datagram that begins at `start` may be one of the run."""
        return (
            self._run_is_open
            and start == self._run_end
            and size <= self._run_size
            and self._run_count < MAX_DATAGRAMS
            and start + size - self._run_start <= MAX_BYTES
            and to == self._run_to
        )

    def poll_transmit(self) -> Transmit | None:
        """Return the next that is to be sent; None where there is no more."""
        if self._transmit:
            return self._transmit.popleft()
        to = self._run_to
        if to is None:
            return None
        self._run_to = None
        size = self._run_size if self._run_count > 1 else 0
        return Transmit(self._buffer[self._run_start : self._run_end], to, size)

    def _end_run(self) -> None:
        to = self._run_to
        if to is not None:
            size = self._run_size if self._run_count > 1 else 0
            self._transmit.append(Transmit(self._buffer[self._run_start : self._run_end], to, size))
            self._run_to = None

    def drop(self, reason: Drop, count: int = 1) -> Drop:
        """Count a refusal and return its reason."""
        self.drops[reason] += count
        return reason
