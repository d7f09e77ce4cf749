"""`ltk plan`: what apply would do."""

from __future__ import annotations

from pathlib import Path

import click

from ltk.cli import here
from ltk.cli.changes import as_json, show
from ltk.cli.common import emit, output_option, say, text_of, topology_argument
from ltk.cli.unfinished import in_words, unfinished

CHANGES_STATUS = 2


@click.command("plan", epilog="Example:  ltk plan topologies/quickstart.yaml --save plan.json")
@topology_argument
@click.option("--node", metavar="NODE", help="As this node, on this machine itself.")
@click.option(
    "--save",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the plan to FILE, so that `ltk apply FILE` does exactly this or nothing.",
)
@output_option
def command(topology: str, node: str | None, save: Path | None, output: str) -> int:
    """Show what `ltk apply` would change, each with its reason. Changes nothing.

    Exits with 0 where there is nothing to do and with 2 where there is.
    """
    from ltk.reconcile import saved
    from ltk.reconcile.apply import foresee

    wanted = here.on_this_machine(text_of(topology), node)
    operations, have = foresee(wanted)
    if save is not None:
        saved.write(save, wanted, operations, have)
    for line in in_words(unfinished(wanted.name)):
        say(line)
    if output == "json":
        emit({"topology": wanted.name, "changes": as_json(operations)})
    elif operations:
        show(operations)
    else:
        say(f"{wanted.name}: nothing to do")
    if save is not None:
        say(f"saved; carry it out with: ltk apply {save}")
    return CHANGES_STATUS if operations else 0
