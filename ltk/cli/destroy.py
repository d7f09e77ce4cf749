"""`ltk destroy`: remove all that bears a topology's mark."""

from __future__ import annotations

import click

from ltk.cli import here
from ltk.cli.changes import Progress, as_json, count
from ltk.cli.common import emit, name_of, output_option, say, topologies_up, topology_argument, yes_option
from ltk.errors import InvalidInputError


@click.command("destroy", epilog="Example:  ltk destroy quickstart")
@topology_argument
@yes_option
@output_option
def command(topology: str, output: str) -> None:
    """Remove a topology: its processes, namespaces, devices, rules, keys and files.

    Whatever does not bear its mark stays. Destroying the topology of a file that is not up does nothing.
    """
    from ltk.reconcile.apply import exists, remove, what_goes
    from ltk.reconcile.here import node_of

    name = name_of(topology)  # it is enough: what is removed is found by its mark
    if not exists(name):
        if name == topology:
            up = ", ".join(topologies_up()) or "none"
            raise InvalidInputError(f"destroying {name}", "it is not up", hint=f"Up are: {up}")
        operations = []
    else:
        if node_of(name) is not None:
            here.ask_before_removing(f"destroying {name}", lambda: what_goes(name))
        progress = Progress(f"destroying {name}")
        try:
            operations = remove(name, progress)
        finally:
            progress.end()
    if output == "json":
        emit({"topology": name, "changes": as_json(operations)})
    else:
        say(f"{name} is gone: {count(operations, 'there was nothing to remove')}")
