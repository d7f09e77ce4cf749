"""`ltk render`: a topology with nothing left implicit."""

from __future__ import annotations

import click

from ltk.cli.common import emit, file_argument, output_option


@click.command(epilog="Example:  ltk render topologies/branch-offices.yaml")
@file_argument
@output_option
def command(file: str, output: str) -> None:
    """Print the topology in FILE (or - for standard input) with every default spelled out.

    What is printed is a topology file again, and means the same.
    """
    from ltk.topology.load import load_topology
    from ltk.topology.render import as_mapping, render

    topology = load_topology(file)
    if output == "json":
        emit({"topology": as_mapping(topology)})
    else:
        click.echo(render(topology), nl=False)
