"""Streams of numbered datagrams through tunnels, and sightings of what carries them on the internet.

One thread drives all streams: each sends numbers at an even pace to a place that sends them back. When
something arrived is the kernel's word, by one clock for all, so that a busy machine makes no figure out of
this thread's own delays.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import selectors
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from harness import Lab

from ltk.kernel import netns

PACE = 0.02  # seconds between two datagrams: fifty a second
PAYLOAD = 300  # bytes; more than any frame of control has, and less than a full-sized probe
DATA_SIZES = range(PAYLOAD, PAYLOAD + 200)  # bytes of a UDP payload on the internet that carries one

_NUMBER = struct.Struct("!Q")
_NOWHERE = {errno.ENETUNREACH, errno.ENETDOWN, errno.ENOBUFS}  # no device at the moment, or nobody at it
_ROOM = 1 << 20  # bytes of a socket's queue, for when this thread does not get its turn
_LONGEST_TURN = 0.02  # seconds until orders are looked for

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the time of arrival as ancillary data
_SO_RCVBUFFORCE = 33  # the same; beyond what is meant for everybody
_FRAME = 2  # bytes before each datagram on a stream; docs/protocol.md
_TIMESPEC = struct.Struct("=qq")
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23  # linux/if_packet.h
_ETH_P_IP = 0x0800


@dataclass
class Stream:
    """Numbers from one place to another and back, and when each of them was where, in Unix time."""

    name: str
    pace: float
    sent: list[float] = field(default_factory=list)  # by number
    arrived: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    echoed: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    goes_on: bool = True

    def echoes(self, since: float = 0.0) -> int:
        """How many of those sent after `since` have come back."""
        return sum(self.sent[number] > since for number in list(self.echoed))

    def last_echoed(self) -> float:
        """When the newest of those that have come back was sent."""
        return self.sent[max(list(self.echoed))]

    def first_echo(self) -> tuple[float, float]:
        """When the first one that came back was sent, and when anything came back first."""
        return self.sent[min(list(self.echoed))], min(times[0] for times in list(self.echoed.values()))

    def outage(self, since: float, until: float) -> float:
        """The longest time between two answers, in seconds, of those that came between these moments."""
        times = sorted(times[0] for times in list(self.echoed.values()) if since < times[0] < until)
        assert times, f"{self.name}: nothing came back in {until - since:.1f} s"
        return max(later - earlier for earlier, later in itertools.pairwise([since, *times]))

    def lost(self, since: float, until: float) -> list[int]:
        """Those sent between these moments that never came back."""
        return [n for n, at in enumerate(list(self.sent)) if since < at < until and n not in self.echoed]

    def duplicates(self) -> list[int]:
        """Those that came more than once, to either side."""
        return [
            n for heard in (self.arrived, self.echoed) for n, times in list(heard.items()) if len(times) > 1
        ]


class Sighting(NamedTuple):
    """A datagram that came into a place."""

    at: float  # Unix time
    port: int  # from which it came
    size: int  # bytes of its UDP payload, or of what it is in a TCP segment
    by_tcp: bool = False  # in a segment by itself, as those are that are sent one by one

    @property
    def is_data(self) -> bool:
        """Whether it carries a datagram of a stream."""
        return self.size in DATA_SIZES


class Sightings:
    """All datagrams that came into a place, by the addresses they were between, in order."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[Sighting]] = defaultdict(list)

    def note(self, source: str, target: str, sighting: Sighting) -> None:
        """Add one."""
        self._seen[source, target].append(sighting)

    def between(self, source: str, target: str, since: float = 0.0) -> list[Sighting]:
        """Those from one address to another after a moment."""
        found = []
        for each in reversed(list(self._seen[source, target])):
            if each.at <= since:
                break
            found.append(each)
        return found[::-1]

    def data(self, source: str, target: str, since: float = 0.0) -> list[Sighting]:
        """Those of them that carry data."""
        return [each for each in self.between(source, target, since) if each.is_data]


class Traffic:
    """The streams and sightings of a test, all in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._due: list[tuple[float, int, Callable[[], float | None]]] = []  # a heap
        self._count = itertools.count()
        self._orders: deque[Callable[[], None]] = deque()
        self._ends = threading.Event()
        self._executor = ThreadPoolExecutor(1)
        self._running = self._executor.submit(self._run)

    def stream(self, lab: Lab, source: str, target: str, address: str, *, pace: float = PACE) -> Stream:
        """Start one from a place to another, whose tunnel address is `address`."""
        stream = Stream(f"{lab.name}: {source} to {target}", pace)
        outward = self._socket(lab, source, socket.AF_INET, socket.SOCK_DGRAM)
        inward = self._socket(lab, target, socket.AF_INET, socket.SOCK_DGRAM)
        inward.bind(("", 0))
        destination = (address, inward.getsockname()[1])

        def send() -> float | None:
            if not stream.goes_on:
                return None
            if _sent(outward, _NUMBER.pack(len(stream.sent)).ljust(PAYLOAD), destination):
                stream.sent.append(time.time())
            return stream.pace

        def begin() -> None:
            self._watch(inward, lambda: _answer(inward, stream))
            self._watch(outward, lambda: _hear(outward, stream))
            heapq.heappush(self._due, (time.monotonic(), next(self._count), send))

        self._orders.append(begin)
        return stream

    def sightings(self, lab: Lab, place: str = "internet") -> Sightings:
        """Note all datagrams that come into a place from now on."""
        seen = Sightings()
        sniffer = self._socket(lab, place, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        sniffer.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._orders.append(lambda: self._watch(sniffer, lambda: _see(sniffer, seen)))
        return seen

    def stop(self, *streams: Stream) -> None:
        """Send no more on these; what is under way still arrives."""
        for stream in streams:
            stream.goes_on = False

    def close(self) -> None:
        """End, and raise what has gone wrong meanwhile."""
        self._ends.set()
        self._executor.shutdown()
        self._selector.close()
        for each in self._sockets:
            each.close()
        self._running.result()

    def check(self) -> None:
        """Raise what has gone wrong so far."""
        if self._running.done():
            self._running.result()

    def _socket(self, lab: Lab, place: str, *kind: int) -> socket.socket:
        with netns.inside(lab.scope(place)):
            made = socket.socket(*kind)
        self._sockets.append(made)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        return made

    def _watch(self, each: socket.socket, read: Callable[[], None]) -> None:
        self._selector.register(each, selectors.EVENT_READ, read)

    def _run(self) -> None:
        while not self._ends.is_set():
            while self._orders:
                self._orders.popleft()()
            wait = self._due[0][0] - time.monotonic() if self._due else _LONGEST_TURN
            for key, _ in self._selector.select(min(max(0.0, wait), _LONGEST_TURN)):
                key.data()
            while self._due and self._due[0][0] <= time.monotonic():
                at, number, send = heapq.heappop(self._due)
                if (pace := send()) is not None:
                    # What was missed meanwhile is not made up for: a burst would be another stream.
                    heapq.heappush(self._due, (max(at + pace, time.monotonic()), number, send))


@contextmanager
def traffic() -> Iterator[Traffic]:
    """Traffic for as long as the body takes."""
    made = Traffic()
    try:
        yield made
    finally:
        made.close()


def _sent(outward: socket.socket, data: bytes, to: tuple[str, int]) -> bool:
    try:
        outward.sendto(data, to)
    except OSError as error:
        if error.errno not in _NOWHERE:
            raise
        return False
    return True


def _received(inward: socket.socket) -> Iterator[tuple[bytes, float, tuple[str, int]]]:
    """All that has arrived, with when and from where."""
    while True:
        try:
            data, ancillary, _, source = inward.recvmsg(2048, 64)
        except BlockingIOError:
            return
        ((_, _, stamp),) = ancillary
        seconds, nanoseconds = _TIMESPEC.unpack(stamp)
        yield data, seconds + nanoseconds * 1e-9, source


def _answer(inward: socket.socket, stream: Stream) -> None:
    for data, at, source in _received(inward):
        stream.arrived[_NUMBER.unpack_from(data)[0]].append(at)
        _sent(inward, data, source)


def _hear(outward: socket.socket, stream: Stream) -> None:
    for data, at, _ in _received(outward):
        stream.echoed[_NUMBER.unpack_from(data)[0]].append(at)


def _see(sniffer: socket.socket, seen: Sightings) -> None:
    for packet, at, _ in _received(sniffer):
        header = (packet[0] & 15) * 4
        source, target = (socket.inet_ntoa(packet[start : start + 4]) for start in (12, 16))
        port, _, length = struct.unpack_from("!HHH", packet, header)
        if packet[9] == socket.IPPROTO_UDP:
            seen.note(source, target, Sighting(at, port, length - 8))
        elif packet[9] == socket.IPPROTO_TCP:
            carried = len(packet) - header - (packet[header + 12] >> 4) * 4
            seen.note(source, target, Sighting(at, port, carried - _FRAME, by_tcp=True))
