"""Runs that are cut short: killed, or made to fail, after a number of operations."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import pytest

from ltk.errors import LtkError
from ltk.reconcile import execute
from ltk.reconcile.plan import Operation
from ltk.reconcile.resources import Resource

Doer = Callable[[str, Sequence[Operation]], None]
REFUSED = "the kernel refused it, said the test"


@contextmanager
def cut_short(after: int, cut: Callable[[Operation], NoReturn]) -> Iterator[None]:
    """Carry out the first `after` operations of this process as ever, then call `cut` with the next.

    What comes later is carried out: it is what follows from the cut. Within a batch, those before the
    cut are done together, as they are without one.
    """
    done: int | None = 0

    def counted(doer: Doer) -> Doer:
        def run(topology: str, operations: Sequence[Operation]) -> None:
            nonlocal done
            if done is not None and done + len(operations) > after:
                some, done = operations[: after - done], None
                if some:
                    doer(topology, some)
                cut(operations[len(some)])
            if done is not None:
                done += len(operations)
            doer(topology, operations)

        return run

    doers: dict[type[Resource], Doer] = dict(execute._DOERS)
    execute._DOERS.update({kind: counted(doer) for kind, doer in doers.items()})
    try:
        yield
    finally:
        execute._DOERS.update(doers)


def refuse(operation: Operation) -> NoReturn:
    """Fail as a kernel does."""
    raise LtkError(f"doing {operation}", REFUSED)


def die(_operation: Operation) -> NoReturn:
    """End as nobody can keep a process from ending."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead")


def spread(operations: Sequence[Operation]) -> list[int]:
    """Numbers of operations after which to cut: within each kind of each action, and at its end."""
    places: dict[tuple[str, str], list[int]] = {}
    for number, operation in enumerate(operations):
        places.setdefault((operation.action, operation.resource.kind), []).append(number)
    return sorted({each[len(each) // 2] for each in places.values()} | {len(operations) - 1})


def chosen(operations: Sequence[Operation]) -> list[int]:
    """As `spread`; every number with LTK_EVERY_OPERATION=1, and with "5-100" those from 5 to 99."""
    match os.environ.get("LTK_EVERY_OPERATION", "").split("-"):
        case [""]:
            return spread(operations)
        case [first, last]:
            some = list(range(int(first), min(int(last), len(operations))))
            if not some:
                pytest.skip(f"there are {len(operations)} operations, and none of those that were asked for")
            return some
        case _:
            return list(range(len(operations)))


def status_of_a_child(run: Callable[[], object]) -> int:
    """What becomes of a process that runs this: minus a signal, or 1, however else it ends."""
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
