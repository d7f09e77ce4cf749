"""Runs that fail or are killed, broken: less is written down, or less is put back.

Daemons install mutants too, and have no use for what these break: it is imported only to be broken.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from ltk.testing.breaking import mutant, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ltk.reconcile.plan import Operation
    from ltk.reconcile.resources import State
    from ltk.reconcile.undo import Undo


@mutant("journal-after-the-fact")
def _journal_after_the_fact() -> None:
    """What is done is written down when it is done, and not before."""
    from ltk.reconcile import apply
    from ltk.reconcile.execute import execute as carry_out

    def silently(
        topology: str,
        operations: Sequence[Operation],
        on_done: Callable[[Operation], None],
        on_begin: Callable[[Sequence[Operation]], None],
    ) -> None:
        carry_out(topology, operations, on_done)
        on_begin(operations)

    replace(apply, "execute", silently)


@mutant("rollback-brings-no-route-back")
def _rollback_brings_no_route_back() -> None:
    """What was made is removed and what was changed is changed back; routes that were removed stay away."""
    from ltk.reconcile import rollback
    from ltk.reconcile.resources import Route
    from ltk.reconcile.undo import aim

    def poorer(undo: Undo, now: State) -> State:
        state = aim(undo, now)
        return {key: each for key, each in state.items() if key in now or not isinstance(each, Route)}

    replace(rollback, "aim", poorer)


@mutant("guard-dies-with-the-terminal")
def _guard_dies_with_the_terminal() -> None:
    """The guard is a child like any other, in the session of the shell that has started it."""
    from ltk.confirm import start

    def nearby(arguments: list[str], log: int, ready: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-P", "-m", "ltk.confirm", *arguments]
        return subprocess.Popen(words, stdout=log, stderr=log, cwd="/", pass_fds=(ready,))

    replace(start, "_spawn", nearby)
