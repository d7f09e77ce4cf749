"""Ending processes and knowing that they have ended."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable

from ltk.errors import LtkError

TERM_PATIENCE = 2.0  # seconds between the polite and the other signal
KILL_DEADLINE = 5.0  # seconds for the kernel to take a killed process away


def end(pids: Iterable[int]) -> None:
    """Ask the processes to end, kill those that do not, and return when all are gone.

    A process is held by a descriptor from the start, so that a reused number is never hit.
    """
    held: dict[int, int] = {}
    try:
        for pid in pids:
            try:
                held[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                continue
        left = _signal_and_wait(held, signal.SIGTERM, TERM_PATIENCE)
        left = _signal_and_wait(left, signal.SIGKILL, KILL_DEADLINE)
        if left:
            which = ", ".join(str(pid) for pid in left.values())
            raise LtkError("ending processes", f"{which} did not end within {KILL_DEADLINE:g} s of SIGKILL")
    finally:
        for descriptor in held:
            os.close(descriptor)


def _signal_and_wait(held: dict[int, int], number: signal.Signals, seconds: float) -> dict[int, int]:
    """Send the signal; returns those that have not ended when the time is up."""
    left = dict(held)
    poller = select.poll()
    for descriptor in held:
        poller.register(descriptor, select.POLLIN)
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue  # it has ended already, and the poll below says so
    deadline = time.monotonic() + seconds
    while left and (remaining := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(remaining * 1000):
            poller.unregister(descriptor)
            del left[descriptor]
    return left
