"""`ltk apply --confirm`: a change that is undone unless somebody, or the file's checks, confirm it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from ltk.cli.common import say
from ltk.cli.times import seconds_of
from ltk.errors import InvalidInputError, LtkError, RolledBackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ltk.reconcile.plan import Operation
    from ltk.topology.expanded import Topology

AUTO = "auto"
CHECKS_LIMIT = 3600.0  # seconds; checks that were never heard of again have failed


class Guarded:
    """An apply with a guard, which is started when there is something to do."""

    def __init__(self, topology: Topology, within: str) -> None:
        """`within` is what `--confirm` was given. Raises InvalidInputError for anything else than that."""
        from ltk.reconcile.unconfirmed import Awaiting

        doing = f"applying {topology.name}"
        self._topology = topology
        self._auto = within == AUTO
        self._guard: subprocess.Popen[bytes] | None = None
        if self._auto and topology.here is not None:
            hint = f"Give it a time, such as --confirm 60s, and say yourself: ltk confirm {topology.name}"
            problem = "--confirm auto: checks are made in a lab, and no single machine can tell"
            raise InvalidInputError(f"{doing} as {topology.here}", problem, hint=hint)
        if self._auto and not topology.checks:
            hint = "Say what has to hold, such as checks: [{reach: [alice, bob]}], see docs/testing.md."
            raise InvalidInputError(doing, "--confirm auto: it has no checks", hint=hint)
        seconds = CHECKS_LIMIT if self._auto else seconds_of(within, "--confirm", doing)
        self.awaiting = Awaiting(seconds, self._auto, self._start)

    def _start(self) -> None:
        from ltk.confirm.start import start_guard

        self._guard = start_guard(self._topology.name)

    def settle(self, operations: Sequence[Operation]) -> dict[str, float]:
        """After the apply: with `auto`, wait for what the checks decide; else, how long others have.

        Raises RolledBackError where the checks have failed.
        """
        if self._guard is None or not operations:
            return {}
        if not self._auto:
            return {"confirm_within_s": self.awaiting.seconds}
        say(f"running {len(self._topology.checks)} checks, which decide whether it stays")
        status = self._guard.wait()
        if status:
            raise self._failure(status)
        return {}

    def _failure(self, status: int) -> LtkError:
        from ltk.kernel import paths

        log = paths.guard_log(self._topology.name)
        doing = f"confirming the change of {self._topology.name}"
        if status == RolledBackError.exit_status:
            try:
                said = log.read_text().splitlines()[-1].partition(f"{self._topology.name}: ")[2]
            except (
                OSError,
                IndexError,
            ):  # the log went with all the rest: there was nothing before
                said = "its checks failed, and it was undone"
            return RolledBackError(doing, said)
        return LtkError(doing, "it was not undone whole", hint=f"Its guard's log is {log}.")
