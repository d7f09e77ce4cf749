"""The programs of a lab as resources: which are kept running, and how that is changed."""

from __future__ import annotations

from collections.abc import Sequence

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.reconcile.plan import Operation, Remove
from ltk.reconcile.resources import Program, scope_of
from ltk.supervise import client as supervisor


def kept(topology: str) -> list[Program]:
    """The programs that the supervisor keeps running; without a supervisor there are none."""
    if not supervisor.is_running(topology):
        return []
    try:
        listed = supervisor.programs(topology)
    except LtkError:
        return []  # it has ended since
    return [Program(scope_of(topology, each.node), each.node, each.command, each.folder) for each in listed]


def change(topology: str, operations: Sequence[Operation]) -> None:
    """Stop what is not wanted any more, or not so; start what is wanted."""
    starts = []
    for operation in operations:
        program = operation.resource
        assert isinstance(program, Program)
        if supervisor.is_running(topology):
            supervisor.stop_program(topology, program.node)
        log = paths.program_log(topology, program.node)
        if isinstance(operation, Remove):
            log.unlink(missing_ok=True)
        else:
            starts.append(supervisor.RunStart(program.node, program.scope, program.command, program.folder))
    if starts:
        supervisor.ensure_running(topology)
        supervisor.start_programs(topology, starts)
