"""Bringing back a device that has gone: the reconciler is asked, since only it makes devices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from ltk.errors import BusyError
from ltk.node.log import say
from ltk.node.poller import IN, Backoff, Deadline, Poller

FIRST_RETRY = 0.1  # seconds
BUSY_LIMIT = 5.0  # seconds between attempts while another ltk is at work on the topology
FAILED_LIMIT = 60.0  # seconds between attempts that fail for another reason


def apply_command(topology: str, node: str) -> list[str]:
    """The command that makes what `node` lacks."""
    return [sys.executable, "-P", "-m", "ltk", "apply", topology, "--only", node, "--yes"]


class Repairs:
    """Runs the repairs that are wanted, one at a time, each until it has succeeded or is called off."""

    def __init__(
        self, topology: str, poller: Poller, command: Callable[[str, str], list[str]] = apply_command
    ) -> None:
        self._topology = topology
        self._poller = poller
        self._command = command
        self._waiting: dict[str, None] = {}  # in the order in which they were wanted
        self._retries: dict[str, Deadline] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._at_work: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._called_off: list[Callable[[], None]] = []

    def want(self, node: str) -> None:
        """Repair `node`; once more when it is being repaired just now."""
        if node not in self._retries:
            self._waiting[node] = None
            self._begin()

    def call_off(self, node: str, done: Callable[[], None]) -> None:
        """Repair `node` no longer; `done()` is called, at once or later, when nothing is at work on it."""
        self._waiting.pop(node, None)
        self._backoffs.pop(node, None)
        if retry := self._retries.pop(node, None):
            retry.cancel()
        if self._at_work == node and self._process is not None:
            self._called_off.append(done)
            self._process.terminate()
        else:
            done()

    def rest(self, done: Callable[[], None]) -> None:
        """Want nothing more for now; `done()` is called, at once or later, when nothing is at work."""
        for node in {*self._waiting, *self._retries} - {self._at_work}:
            self.call_off(node, lambda: None)
        if self._at_work is None:
            done()
        else:
            self.call_off(self._at_work, done)

    def let_go(self) -> None:
        """Close this process's descriptors; for a forked child."""
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _begin(self) -> None:
        if self._process is not None or not self._waiting:
            return
        node = self._at_work = next(iter(self._waiting))
        del self._waiting[node]
        say("info", f"{node}: its device has gone, repairing")
        # who started the lab may have wished for confirmations, and nobody would confirm a repair
        environment = {name: value for name, value in os.environ.items() if name != "LTK_CONFIRM"}
        command = self._command(self._topology, node)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._poller.watch(self._pidfd, IN, self._ended)

    def _ended(self, _mask: int) -> None:
        node, process = self._at_work, self._process
        if node is None or process is None:
            return
        self._poller.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd, self._process, self._at_work = -1, None, None
        status = process.wait()
        called_off, self._called_off = self._called_off, []
        if not called_off:
            self._judge(node, status)
        for done in called_off:
            done()
        self._begin()

    def _judge(self, node: str, status: int) -> None:
        if status == 0:
            say("info", f"{node}: repaired")
            self._backoffs.pop(node, None)
            return
        busy = status == BusyError.exit_status
        backoff = self._backoffs.setdefault(node, Backoff(FIRST_RETRY, FAILED_LIMIT))
        delay = min(backoff.next(), BUSY_LIMIT if busy else FAILED_LIMIT)
        why = "another ltk is at work" if busy else f"the repair ended with {status}"
        say("info" if busy else "warning", f"{node}: {why}, trying again in {delay:g} s")
        self._waiting.pop(node, None)
        self._retries[node] = self._poller.later(delay, lambda: self._retry(node))

    def _retry(self, node: str) -> None:
        del self._retries[node]
        self.want(node)
