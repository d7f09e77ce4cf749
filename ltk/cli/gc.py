"""`ltk gc`: remove what crashed runs have left behind."""

from __future__ import annotations

import click

from ltk.cli.changes import as_json, count
from ltk.cli.common import emit, output_option, say, yes_option


@click.command("gc", epilog="Example:  ltk gc")
@yes_option
@output_option
def command(output: str) -> None:
    """Remove every topology of which something is left but nobody takes care any more.

    That is one whose supervisor does not live and on which no other ltk is at work. Topologies that
    are up are not touched.
    """
    from ltk.reconcile.apply import crashed, remove

    removed = {name: remove(name, lambda _: None) for name in crashed()}
    if output == "json":
        topologies = [{"topology": name, "changes": as_json(done)} for name, done in removed.items()]
        emit({"topologies": topologies})
        return
    for name, operations in removed.items():
        say(f"{name} is gone: {count(operations, 'only files were left')}")
    if not removed:
        say("nothing was left behind")
