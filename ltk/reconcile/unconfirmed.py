"""A change that is done and awaits its confirmation: it is undone unless somebody confirms it in time.

Its journal stays for as long, and says until when. A process of its own, the guard (`ltk.confirm`), sleeps
until then, and is woken by a named pipe when something about it changes. Should the guard have been
killed, the next run that has the lock does its work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from ltk.errors import BusyError
from ltk.kernel import paths
from ltk.reconcile import here
from ltk.reconcile.journal import Left, now, read
from ltk.reconcile.rollback import roll_back
from ltk.reconcile.undo import Undo


@dataclass(frozen=True, slots=True)
class Awaiting:
    """How a change is to be confirmed: within `seconds`, or (`auto`) by the topology's checks.

    `guard` starts the guard of the run that calls it, and returns when it watches over that.
    """

    seconds: float
    auto: bool
    guard: Callable[[], None]


def waiting(topology: str) -> Left | None:
    """The journal of the change that awaits its confirmation; None where there is none."""
    return read(paths.unconfirmed(topology))


def seconds_left(left: Left) -> float:
    """How long it may still be confirmed; 0 where the time is over, or where nobody can tell any more."""
    return 0.0 if left.until is None else max(0.0, left.until - now())


def is_guarded(topology: str) -> bool:
    """Whether a guard lives."""
    return _knock(topology, b"")


def wake(topology: str) -> None:
    """Have the guard look again; fine if there is none."""
    _knock(topology, b".")


def _knock(topology: str, said: bytes) -> bool:
    try:
        pipe = os.open(paths.guard_pipe(topology), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is no pipe, or nobody listens at it
        return False
    with contextlib.suppress(BlockingIOError):  # it is full, and will wake the guard all the same
        os.write(pipe, said)
    os.close(pipe)
    return True


def let_stand(topology: str) -> None:
    """Let what has been changed stay, on a real host over a boot too. With the lock held."""
    here.keep_applied(topology)
    forget(topology)


def forget(topology: str) -> None:
    """Nobody waits any more for what has been changed, and the guard goes. With the lock held."""
    paths.unconfirmed(topology).unlink(missing_ok=True)
    wake(topology)
    paths.guard_pipe(topology).unlink(missing_ok=True)


def take_back(topology: str, undo: Undo) -> None:
    """Undo the change and wait no more, with the lock held; raises LtkError where not all can be undone."""
    roll_back(topology, undo)
    forget(topology)


def take_back_what_is_too_late(topology: str) -> str | None:
    """Undo the change whose time is over, with the lock held; returns what is to be told about it.

    That is the guard's to do, unless it was killed or comes only now. One that cannot be read is let stand.
    Raises LtkError where not all can be undone; it is tried once, so that it is in no later run's way.
    """
    left = waiting(topology)
    if left is None or seconds_left(left) > 0:
        return None
    if left.undo is None:
        let_stand(topology)
        return f"{topology} awaited a confirmation, but how it was before cannot be read any more"
    try:
        roll_back(topology, left.undo)
    finally:
        forget(topology)
    return f"the last change of {topology} was not confirmed in time, and was undone"


def refuse_while_waiting(topology: str, doing: str) -> None:
    """Raise BusyError where a change awaits its confirmation: a second one would not let it be undone."""
    left = waiting(topology)
    if left is None:
        return
    hint = f"Keep what it changed: ltk confirm {topology}. Or wait until it is undone."
    problem = f"its last change awaits a confirmation, for {seconds_left(left):.0f} s more"
    raise BusyError(f"{doing} {topology}", problem, hint=hint)
