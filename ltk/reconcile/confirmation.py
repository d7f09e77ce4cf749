"""`ltk confirm`: keep a change that would be undone, or give it more time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ltk.errors import InvalidInputError, RolledBackError
from ltk.kernel import paths
from ltk.reconcile import unconfirmed
from ltk.reconcile.apply import locked
from ltk.reconcile.journal import Left, note, now


def confirm(topology: str) -> None:
    """Keep what was changed.

    Raises InvalidInputError where nothing awaits that, BusyError where another ltk is at work, and
    RolledBackError where it comes too late.
    """
    with _in_time(topology, "confirming the change of"):
        unconfirmed.let_stand(topology)


def extend(topology: str, seconds: float) -> None:
    """Give it so many seconds from now on; else as `confirm`."""
    with _in_time(topology, "extending the time of") as left:
        note(paths.unconfirmed(topology), {"until": now() + seconds, "auto": left.auto})
        unconfirmed.wake(topology)


@contextlib.contextmanager
def _in_time(topology: str, doing: str) -> Iterator[Left]:
    """The change that waits, with the lock held and while there is time."""
    nothing = InvalidInputError(f"{doing} {topology}", "nothing of it awaits a confirmation")
    if unconfirmed.waiting(topology) is None:
        raise nothing
    with locked(topology, doing):
        if told := unconfirmed.take_back_what_is_too_late(topology):
            raise RolledBackError(f"{doing} {topology}", told)
        left = unconfirmed.waiting(topology)
        if left is None:
            raise nothing
        yield left
