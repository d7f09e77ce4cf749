"""The data path of a node: one thread, one epoll, one timer.

Each turn waits, reads a budget of packets from whatever is ready, and calls the engine when its time has
come. What arrives faster than it is taken waits in the inbox, from which senders are served in turns. What
the engine has to say is drained when that is much, and before anything is waited for. Nothing here blocks
but the wait, and nothing here knows what a packet means.

A packet that comes alone, and wakes the node, finds the processor's caches cold: each call then costs
microseconds. So it is passed on at once, the wait tells whether there is another, and what is done between
its arrival and its departure is kept short.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from ltk.errors import LtkError
from ltk.node.inbox import Inbox, work
from ltk.node.poller import BROKEN, IN, Poller
from ltk.node.streams import Streams
from ltk.node.tun import DeviceGoneError, Tun
from ltk.node.udp import Udp
from ltk.protocol.buffers import buffer
from ltk.protocol.engine import Engine
from ltk.protocol.events import Event
from ltk.protocol.messages import Buffer, Endpoint
from ltk.protocol.vnet import HEADROOM, TAILROOM, VNET_SIZE, Packet

BUDGET = 64  # units of work in each direction and turn; about 1 ms, so that the others get theirs
PACKET_LIMIT = 65536  # bytes; the largest IP packet or UDP payload, and one over
PATIENCE = 0.25  # seconds that timers wait for what has arrived to be taken
ENOUGH = 1 << 15  # bytes that are sent before more is read: small packets leave together, large ones at once

DEVICE_GONE = "device-gone"  # a packet for the device while there was none
NO_SOCKET = "udp-no-socket"  # a datagram from one more socket, while the process may have no more


class Loop:
    """Moves packets between `tun`, `engine`, `udp` and `streams` until `stop`.

    `stun` is a server's second socket.

    `on_event(event)` hears the engine's events, `on_device_gone(error)` once that the device has gone;
    the loop goes on without it, sessions and all, until `use_tun` gives it another.
    """

    def __init__(
        self,
        poller: Poller,
        engine: Engine,
        udp: Udp,
        drops: Counter[str],
        *,
        on_event: Callable[[Event], None],
        on_device_gone: Callable[[DeviceGoneError], None],
        stun: Udp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tun: Tun | None = None
        self.udp = udp
        self._sockets: dict[int, Udp] = {}  # all others, by the engine's numbers for them
        self._closing: list[int] = []  # of those, at the end of the turn: one of them may be read just now
        self._poller = poller
        self._engine = engine
        self._drops = drops
        self._on_event = on_event
        self._on_device_gone = on_device_gone
        self._clock = clock
        self._mark = 0
        self._running = True
        self._behind_since = clock()
        self._inbox = Inbox(drops)
        self._datagrams = buffer(PACKET_LIMIT)
        self.streams = Streams(
            poller, engine, drops, take=self._take_from_stream, drain=self.drain, clock=clock
        )
        self._packet = buffer(HEADROOM + PACKET_LIMIT + TAILROOM)
        self._framed = self._packet[HEADROOM - VNET_SIZE : HEADROOM - VNET_SIZE + PACKET_LIMIT]
        self._bare = self._packet[HEADROOM : HEADROOM + PACKET_LIMIT]
        # Whether packets, and datagrams, come one at a time: the last turn had no more than one.
        self._packets_are_lone = self._datagrams_are_lone = False
        self._due = math.inf  # when the engine had to be called next, before the last wait
        poller.watch(udp.fileno(), IN, partial(self._receive_all, udp))
        if stun is not None:
            self._watch(stun)

    def run(self) -> None:
        """Turn until `stop`; returns within one turn of it."""
        self.drain()
        while self._running:
            self._turn()

    def stop(self) -> None:
        """End `run`. To be called from the loop's own thread, that is from a callback."""
        self._running = False

    def use_tun(self, tun: Tun) -> None:
        """Read from and write to `tun` from now on; the one before is closed."""
        self._let_go_of_tun()
        self.tun = tun
        self._poller.watch(tun.fileno(), IN, self._tun_ready)

    def use_udp(self, udp: Udp) -> None:
        """Send and receive through `udp` from now on; the one before is closed, and what it has is kept."""
        self._inbox.fill(self.udp, self._datagrams)
        self._poller.forget(self.udp.fileno())
        self.udp.close()
        self.udp = udp
        udp.mark(self._mark)
        self._poller.watch(udp.fileno(), IN, partial(self._receive_all, udp))

    def use_mark(self, mark: int) -> None:
        """Have all that is sent from now on bear this firewall mark, from sockets yet to come as well."""
        self._mark = mark
        for each in (self.udp, *self._sockets.values()):
            each.mark(mark)
        self.streams.use_mark(mark)

    def drain(self) -> None:
        """Carry out all that the engine has to say; due after whatever has been told to it."""
        engine = self._engine
        while (transmit := engine.poll_transmit()) is not None:
            data, to, size, hops = transmit
            if to.socket < 0:
                self.streams.send(data, size or len(data), to)
                continue
            udp = self._socket(to.socket) if to.socket else self.udp
            if udp is None:
                continue
            if size:
                udp.send_burst(data, size, to)
            else:
                udp.send(data, to, hops)
        while (packet := engine.poll_deliver()) is not None:
            self._deliver(packet)
        while (stream := engine.poll_connect()) is not None:
            self.streams.connect(stream)
        while (number := engine.poll_closed()) is not None:
            self._closing.append(number)
        while (event := engine.poll_event()) is not None:
            self._on_event(event)

    def close(self) -> None:
        """Give back the device and the port."""
        self._let_go_of_tun()
        for each in (self.udp, *self._sockets.values()):
            self._poller.forget(each.fileno())
            each.close()
        self._sockets.clear()
        self.streams.close_all()

    def _socket(self, number: int) -> Udp | None:
        """Return a socket beside the main one, opened now if need be; None, counted, where it cannot be."""
        known = self._sockets.get(number)
        if known is not None:
            return known
        try:
            opened = Udp.open(0, self._drops, offloads=self.udp.cuts or self.udp.joins, number=number)
        except LtkError:
            self._drops[NO_SOCKET] += 1
            return None
        opened.mark(self._mark)
        self._watch(opened)
        return opened

    def _watch(self, udp: Udp) -> None:
        self._sockets[udp.number] = udp
        self._poller.watch(udp.fileno(), IN, partial(self._receive_all, udp))

    def _close_socket(self, number: int) -> None:
        self.streams.close(number)
        closed = self._sockets.pop(number, None)
        if closed is not None:
            self._poller.forget(closed.fileno())
            closed.close()

    def _turn(self) -> None:
        told = self._engine.next_timeout()
        due = self._due = math.inf if told is None else told
        if self._inbox.is_empty:
            self._wait(due)
            self._behind_since = self._clock()  # if there is something now
        else:
            self._wait(self._clock())
            self._take_in_turns()
        now = self._clock()
        # What has arrived may be just what a timer waits for: who had no turn for a while hears it first.
        if due <= now and (self._inbox.is_empty or now - self._behind_since > PATIENCE):
            self._engine.handle_timeout(now)
            self.drain()

        while self._closing:
            self._close_socket(self._closing.pop())

    def _wait(self, until: float) -> None:
        """Sleep until a packet, a request, a signal or `until` (monotonic seconds); take what there is."""
        self._poller.wait(until)

    def _was_woken(self, now: float) -> bool:
        """Whether the last wait was one, and ended in time: a node that is late takes all there is."""
        return self._poller.slept and now < self._due

    def _tun_ready(self, mask: int) -> None:
        now = self._clock()
        try:
            if self._packets_are_lone and self._was_woken(now) and self.tun is not None:
                self._read_packet(self.tun, now)
            else:
                self._read_packets(now)
        except DeviceGoneError as error:
            self._device_gone(error)
        self.drain()
        if mask & BROKEN and self.tun is not None:
            # The driver says so of a deleted device only, and never stops saying it.
            self._device_gone(DeviceGoneError(f"waiting at the device {self.tun.name}", "it was deleted"))

    def _read_packets(self, now: float) -> None:
        """Hand over what the device has, or as much of it as a turn has room for."""
        left, count = BUDGET, 0
        while left > 0 and self.tun is not None and (length := self._read_packet(self.tun, now)):
            left -= work(length)
            count += 1
            if self._engine.queued > ENOUGH:
                self.drain()
        self._packets_are_lone = count <= 1

    def _read_packet(self, tun: Tun, now: float) -> int:
        """Hand one packet to the engine and return its length; 0 when there is none."""
        if tun.offloads is not None:
            into, start = self._framed, HEADROOM - VNET_SIZE
        else:
            into, start = self._bare, HEADROOM
            self._framed[:VNET_SIZE] = bytes(VNET_SIZE)
        length = tun.read(into)
        if length is None:
            return 0
        self._engine.handle_vnet_packet(Packet(self._packet, HEADROOM, start + length), now)
        return length

    def _receive_all(self, udp: Udp, _mask: int) -> None:
        if self._datagrams_are_lone and self._was_woken(now := self._clock()):  # and the inbox is empty
            self._receive_one(udp, now)
        elif not self._inbox.is_empty or not self._receive(udp):
            self._inbox.fill(udp, self._datagrams)

    def _receive_one(self, udp: Udp, now: float) -> None:
        """Take what has arrived by itself."""
        received = udp.receive(self._datagrams)
        if received is not None:
            length, size, source = received
            if source is not None and size < length:
                self._engine.handle_burst(self._datagrams[:length], size, source, now)
            elif source is not None:
                self._engine.handle_datagram(self._datagrams[:length], source, now)
        self.drain()

    def _receive(self, udp: Udp) -> bool:
        """Take what has arrived; return False where there may be more of it than a turn has room for."""
        now, buffer, left, count = self._clock(), self._datagrams, BUDGET, 0
        while left > 0 and (received := udp.receive(buffer)) is not None:
            length, size, source = received
            left -= work(length)
            count += 1
            if source is not None:
                self._take(buffer[:length], size, source, now)
        self._datagrams_are_lone = count <= 1
        self.drain()
        return left > 0

    def _take_in_turns(self) -> None:
        """Take of what waits as much as a turn has room for."""
        now, left = self._clock(), BUDGET
        while left > 0 and (arrived := self._inbox.take()) is not None:
            left -= work(len(arrived.data))
            self._take(*arrived, now)
        self.drain()

    def _take(self, data: memoryview, size: int, source: Endpoint, now: float) -> None:
        if size < len(data):
            self._engine.handle_burst(data, size, source, now)
        else:
            self._engine.handle_datagram(data, source, now)
        if self._engine.queued > ENOUGH:
            self.drain()

    def _take_from_stream(self, data: memoryview, size: int, source: Endpoint) -> None:
        self._take(data, size, source, self._clock())

    def _deliver(self, packet: Buffer) -> None:
        if self.tun is None:
            self._drops[DEVICE_GONE] += 1
            return
        try:
            self.tun.write(packet)
        except DeviceGoneError as error:
            self._drops[DEVICE_GONE] += 1
            self._device_gone(error)

    def _device_gone(self, error: DeviceGoneError) -> None:
        self._let_go_of_tun()
        self._on_device_gone(error)

    def _let_go_of_tun(self) -> None:
        if self.tun is not None:
            self._poller.forget(self.tun.fileno())
            self.tun.close()
            self.tun = None
