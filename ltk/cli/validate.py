"""`ltk validate`: all errors of a topology file at once."""

from __future__ import annotations

from typing import Any

import click

from ltk.cli.common import emit, file_argument, output_option, say
from ltk.errors import InvalidInputError


@click.command(epilog="Example:  ltk validate topologies/quickstart.yaml")
@file_argument
@output_option
def command(file: str, output: str) -> int:
    """Check a topology FILE (or - for standard input); show all of its errors at once."""
    from ltk.topology.load import load_topology
    from ltk.topology.problems import InvalidTopologyError

    try:
        topology = load_topology(file)
    except InvalidTopologyError as error:
        if output != "json":
            say(str(error))
            say(f"{error.file}: {error.problem}")
        else:
            emit({"valid": False, "problems": [_located(error.file, problem) for problem in error.problems]})
        return error.exit_status
    except InvalidInputError as error:
        if output != "json":
            raise
        emit({"valid": False, "problems": [_unreadable(file, error)]})
        return error.exit_status
    if output == "json":
        emit({"valid": True, "problems": []})
    else:
        sites = f", {_many(len(topology.lab.sites), 'site')}" if topology.lab is not None else ""
        say(f"{file}: valid: {_many(len(topology.nodes), 'node')}{sites}")
    return 0


def _located(file: str, problem: Any) -> dict[str, Any]:
    return {
        "file": file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
    }


def _unreadable(file: str, error: InvalidInputError) -> dict[str, Any]:
    """A file that is not there has no line to point at."""
    return {"file": file, "line": None, "column": None, "key": "", "message": error.problem}


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
