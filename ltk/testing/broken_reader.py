"""The loop's readers, broken: of the TUN, and of requests for metrics."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections import Counter

from ltk.kernel import carrier
from ltk.node.loop import Loop
from ltk.node.scrape import _Client
from ltk.node.tun import DeviceGoneError, Tun
from ltk.protocol.messages import Buffer
from ltk.testing.breaking import mutant, replace

READ_DELAY = 0.002  # seconds; twice that, for a read that finds nothing, is less than the pings are apart
SCRAPE_PATIENCE = 1.5  # seconds


@mutant("tun-exit-on-would-block")
def _exit_on_would_block() -> None:
    """That there is nothing to read is taken for a failure of the device."""

    def nothing_now(_tun: Tun) -> None:
        raise BlockingIOError("the read would block")

    replace(Tun, "_nothing_now", nothing_now)


@mutant("tun-busy-loop")
def _busy_loop() -> None:
    """The loop looks again and again instead of waiting."""

    def look(loop: Loop, _until: float) -> None:
        loop._poller.wait(time.monotonic())

    replace(Loop, "_wait", look)


@mutant("tun-sleep-in-read")
def _sleep_in_read() -> None:
    """Each read is put off a little, so that something may have arrived by then."""
    read = Tun.read

    def read_late(tun: Tun, into: memoryview) -> int | None:
        select.select((), (), (), READ_DELAY)
        return read(tun, into)

    replace(Tun, "read", read_late)


@mutant("tun-blocking-read")
def _blocking_read() -> None:
    """The device is read until there is a packet, whatever else there would be to do."""
    make = Tun.__init__

    def make_blocking(
        tun: Tun, name: str, descriptor: int, drops: Counter[str], offloads: int | None
    ) -> None:
        os.set_blocking(descriptor, True)
        make(tun, name, descriptor, drops, offloads)

    replace(Tun, "__init__", make_blocking)


@mutant("tun-without-carrier")
def _without_carrier() -> None:
    """Whoever has attached begins at once, whether the kernel carries what is sent or drops it."""
    replace(carrier, "awaited", contextlib.nullcontext)


@mutant("tun-exit-on-interrupt")
def _exit_on_interrupt() -> None:
    """A wait that a signal interrupts is not resumed. SIGCONT does that to epoll_wait, see signal(7)."""
    run = Loop.run

    def interrupt(number: int, _frame: object) -> None:
        raise InterruptedError(f"interrupted by signal {number}")

    def run_interruptibly(loop: Loop) -> None:
        signal.signal(signal.SIGCONT, interrupt)
        run(loop)

    replace(Loop, "run", run_interruptibly)


@mutant("tun-exit-on-link-down")
def _exit_on_link_down() -> None:
    """A packet that a device does not take is taken for the end of the device."""
    write = Tun.write

    def write_or_end(tun: Tun, packet: Buffer) -> bool:
        if not write(tun, packet):
            raise OSError(f"{tun.name} did not take a packet")
        return True

    replace(Tun, "write", write_or_end)


@mutant("tun-exit-on-deletion")
def _exit_on_deletion() -> None:
    """The daemon ends with its device, and all sessions with it."""

    def end(_loop: Loop, error: DeviceGoneError) -> None:
        raise error

    replace(Loop, "_device_gone", end)


@mutant("metrics-wait-for-their-client")
def _metrics_wait_for_their_client() -> None:
    """A request for metrics is read whole before anything else is done."""
    read = _Client._read

    def read_it_whole(client: _Client) -> None:
        client._connection.settimeout(SCRAPE_PATIENCE)
        while not client._answered and client._connection.fileno() >= 0:
            read(client)
        client._connection.setblocking(False)

    replace(_Client, "_read", read_it_whole)
