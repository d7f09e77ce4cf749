"""What a guard does from the beginning of a run until its change is confirmed, or undone.

the run is at work      it ends with its change in place -> the change waits
                        it ends otherwise: undone by itself -> nothing to do; killed -> undone here
the change waits        confirmed, or the lab is destroyed -> nothing to do
                        extended -> it waits for longer; the time is over -> undone here
                        its checks decide -> they are run: confirmed here, or undone here
"""

from __future__ import annotations

import contextlib
import os
import select

from ltk.errors import LtkError, RolledBackError
from ltk.kernel import paths
from ltk.node.log import say
from ltk.reconcile import unconfirmed
from ltk.reconcile.apply import locked
from ltk.reconcile.journal import Left, read
from ltk.reconcile.remembered import last_applied
from ltk.reconcile.rollback import roll_back

STANDS = 0  # exit status: there is nothing to undo, or nothing any more
UNDOING = "undoing the change of"


class Guard:
    """Watches over the change that one run makes, which it knows by the run's process id."""

    def __init__(self, topology: str, process: int) -> None:
        """Raises OSError where that process is gone already, or the pipe that wakes this."""
        self._topology = topology
        self._process = process
        self._pipe = os.open(paths.guard_pipe(topology), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._run = os.pidfd_open(process)
        self._watched = select.poll()
        for descriptor in (self._pipe, self._run):
            self._watched.register(descriptor, select.POLLIN)

    def watch(self) -> int:
        """Watch until there is nothing left to do; returns the exit status.

        Raises LtkError where something cannot be undone.
        """
        at_work = True
        while True:
            left = self._mine(unconfirmed.waiting(self._topology))
            if left is None and not at_work:
                return self._after_its_end()
            patience = None
            if left is not None:
                status = self._look(left)
                if status is not None:
                    return status
                patience = unconfirmed.seconds_left(left) * 1000 + 1
            for descriptor, _ in self._watched.poll(patience):
                if descriptor == self._run:
                    at_work = False
                    self._watched.unregister(self._run)
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._pipe, 4096)

    def close(self) -> None:
        """Take the pipe away, unless it is another guard's by now."""
        path = paths.guard_pipe(self._topology)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(self._pipe)):
                path.unlink()
        for descriptor in (self._pipe, self._run):
            os.close(descriptor)

    def _mine(self, left: Left | None) -> Left | None:
        return left if left is not None and left.process == self._process else None

    def _look(self, left: Left) -> int | None:
        """What is to be done about the change that waits; None for nothing yet."""
        if left.auto:
            return self._decide()
        return self._undo("nobody confirmed it in time") if unconfirmed.seconds_left(left) == 0 else None

    def _undo(self, why: str, *, even_early: bool = False) -> int | None:
        with locked(self._topology, UNDOING, wait=True):
            left = self._mine(unconfirmed.waiting(self._topology))
            if left is None:
                return STANDS
            if unconfirmed.seconds_left(left) > 0 and not even_early:
                return None
            if left.undo is None:
                unconfirmed.let_stand(self._topology)
                raise LtkError(f"{UNDOING} {self._topology}", "how it was before cannot be read any more")
            unconfirmed.take_back(self._topology, left.undo)
        say("warning", f"{self._topology}: {why}; the change was undone")
        return RolledBackError.exit_status

    def _after_its_end(self) -> int:
        """The run has ended and nothing waits: undo what it had begun, where it was killed."""
        with locked(self._topology, UNDOING, wait=True):
            left = self._mine(read(paths.journal(self._topology)))
            if left is None or left.undo is None:
                return STANDS
            roll_back(self._topology, left.undo)
            paths.journal(self._topology).unlink(missing_ok=True)
        say("warning", f"{self._topology}: the run was killed; what it had done was undone")
        return RolledBackError.exit_status

    def _decide(self) -> int | None:
        from ltk.verify.run import run_checks  # only now: most guards do without

        applied = last_applied(self._topology)
        if applied is None:
            return self._undo("what is up cannot be read", even_early=True)
        failed = [each for each in run_checks(applied, applied.checks) if not each.passed]
        for each in failed:
            say("error", f"{each.check.name}: {each.problem}")
        if failed:
            words = ", ".join(each.check.name for each in failed)
            return self._undo(f"these checks failed: {words}", even_early=True)
        with locked(self._topology, "confirming", wait=True):
            if self._mine(unconfirmed.waiting(self._topology)) is not None:
                unconfirmed.let_stand(self._topology)
        say("info", f"{self._topology}: confirmed, since all its checks hold")
        return STANDS


def run(topology: str, process: int, ready: int) -> int:
    """Be a guard; tells `ready` when it watches. Returns the exit status, and never raises LtkError."""
    guard = Guard(topology, process)
    os.write(ready, b"ready")
    os.close(ready)
    try:
        return guard.watch()
    except LtkError as error:
        say("error", str(error))
        return error.exit_status
    finally:
        guard.close()
