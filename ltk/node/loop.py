"""The data path of a node: one thread, one epoll, one timer.

Each turn waits, reads a budget of packets from whatever is ready, and calls the engine when its time has
come. What the engine has to say is drained when that is much, and before anything is waited for.
Nothing here blocks but the wait, and nothing here knows what a packet means.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

from ltk.node.poller import BROKEN, IN, Poller
from ltk.node.tun import DeviceGoneError, Tun
from ltk.node.udp import Udp
from ltk.protocol.buffers import buffer
from ltk.protocol.engine import Engine, Event
from ltk.protocol.messages import Buffer
from ltk.protocol.vnet import HEADROOM, TAILROOM, VNET_SIZE, Packet

BUDGET = 64  # packets of one source in one turn; about 1 ms, so that the other and the timers get theirs
PACKET_LIMIT = 65536  # bytes; the largest IP packet or UDP payload, and one over
ENOUGH = 1 << 15  # bytes that are sent before more is read: small packets leave together, large ones at once

DEVICE_GONE = "device-gone"  # a packet for the device while there was none


class Loop:
    """Moves packets between `tun`, `engine` and `udp` until `stop`. `stun` is a server's second socket.

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
        self.stun = stun
        self._poller = poller
        self._engine = engine
        self._drops = drops
        self._on_event = on_event
        self._on_device_gone = on_device_gone
        self._clock = clock
        self._running = True
        self._datagrams = buffer(PACKET_LIMIT)
        self._packet = buffer(HEADROOM + PACKET_LIMIT + TAILROOM)
        poller.watch(udp.fileno(), IN, self._udp_ready)
        if stun is not None:
            poller.watch(stun.fileno(), IN, self._stun_ready)

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
        """Send and receive through `udp` from now on; the one before is closed."""
        self._poller.forget(self.udp.fileno())
        self.udp.close()
        self.udp = udp
        self._poller.watch(udp.fileno(), IN, self._udp_ready)

    def drain(self) -> None:
        """Carry out all that the engine has to say; due after whatever has been told to it."""
        engine = self._engine
        while (transmit := engine.poll_transmit()) is not None:
            data, to, socket, size = transmit
            if size:
                self.udp.send_burst(data, size, to)
            elif not socket:
                self.udp.send(data, to)
            elif self.stun is not None:
                self.stun.send(data, to)
        while (packet := engine.poll_deliver()) is not None:
            self._deliver(packet)
        while (event := engine.poll_event()) is not None:
            self._on_event(event)

    def close(self) -> None:
        """Give back the device and the port."""
        self._let_go_of_tun()
        for each in (self.udp, self.stun):
            if each is not None:
                self._poller.forget(each.fileno())
                each.close()

    def _turn(self) -> None:
        self._wait(self._next_timeout())
        now = self._clock()
        if self._next_timeout() <= now:
            self._engine.handle_timeout(now)
            self.drain()

    def _wait(self, until: float) -> None:
        """Sleep until a packet, a request, a signal or `until` (monotonic seconds); take what there is."""
        self._poller.wait(until)

    def _next_timeout(self) -> float:
        due = self._engine.next_timeout()
        return math.inf if due is None else due

    def _tun_ready(self, mask: int) -> None:
        now = self._clock()
        try:
            for _ in range(BUDGET):
                if self.tun is None or not self._read_packet(self.tun, now):
                    break
                if self._engine.queued > ENOUGH:
                    self.drain()
        except DeviceGoneError as error:
            self._device_gone(error)
        self.drain()
        if mask & BROKEN and self.tun is not None:
            # The driver says so of a deleted device only, and never stops saying it.
            self._device_gone(DeviceGoneError(f"waiting at the device {self.tun.name}", "it was deleted"))

    def _read_packet(self, tun: Tun, now: float) -> bool:
        """Hand one packet to the engine; False when there is none."""
        buffer, start = self._packet, HEADROOM
        if tun.offloads is not None:
            start -= VNET_SIZE
        else:
            buffer[start - VNET_SIZE : start] = bytes(VNET_SIZE)
        length = tun.read(buffer[start : start + PACKET_LIMIT])
        if length is None:
            return False
        self._engine.handle_vnet_packet(Packet(buffer, HEADROOM, start + length), now)
        return True

    def _udp_ready(self, _mask: int) -> None:
        self._receive(self.udp, 0)

    def _stun_ready(self, _mask: int) -> None:
        if self.stun is not None:
            self._receive(self.stun, 1)

    def _receive(self, udp: Udp, socket: int) -> None:
        engine, buffer = self._engine, self._datagrams
        now = self._clock()
        for _ in range(BUDGET):
            if (received := udp.receive(buffer)) is None:
                break
            length, size, source = received
            if source is None:
                continue
            if size < length:
                engine.handle_burst(buffer[:length], size, source, now)
            else:
                engine.handle_datagram(buffer[:length], source, now, socket)
            if engine.queued > ENOUGH:
                self.drain()
        self.drain()

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
