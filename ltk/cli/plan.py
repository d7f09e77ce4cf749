"""`ltk plan`: what apply would do."""

from __future__ import annotations

import click

from ltk.cli.changes import as_json, show
from ltk.cli.common import emit, load, output_option, say, topology_argument

CHANGES_STATUS = 2


@click.command("plan", epilog="Example:  ltk plan topologies/quickstart.yaml")
@topology_argument
@output_option
def command(topology: str, output: str) -> int:
    """Show what `ltk apply` would change, each with its reason. Changes nothing.

    Exits with 0 where there is nothing to do and with 2 where there is.
    """
    from ltk.reconcile.apply import preview

    wanted = load(topology)
    operations = preview(wanted)
    if output == "json":
        emit({"topology": wanted.name, "changes": as_json(operations)})
    elif operations:
        show(operations)
    else:
        say(f"{wanted.name}: nothing to do")
    return CHANGES_STATUS if operations else 0
