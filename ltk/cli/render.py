"""`ltk render`: a topology with nothing left implicit."""

from __future__ import annotations

from pathlib import Path

import click

from ltk.cli.common import emit, file_argument, say
from ltk.errors import InvalidInputError


@click.command(epilog="Example:  ltk render topologies/branch-offices.yaml")
@file_argument
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "ansible"]),
    default="text",
    show_default=True,
    help="What to make of it.",
)
@click.option("--to", metavar="FOLDER", type=click.Path(path_type=Path), help="Where Ansible's files go.")
def command(file: str, output: str, to: Path | None) -> None:
    """Print the topology in FILE (or - for standard input) with every default spelled out.

    What is printed is a topology file again, and means the same. With -o ansible a folder is written, by
    default NAME-ansible: inventory, playbook and role for the machines of a topology of real hosts.
    """
    from ltk.topology.load import load_topology
    from ltk.topology.render import as_mapping, render

    if output == "ansible":
        from ltk.cli import fleet

        wanted, files = fleet.files_of(file)
        folder = to or Path(f"{wanted.name}-ansible")
        fleet.write(files, folder)
        say(
            f"{folder}: run it with  ansible-playbook -i {folder}/{fleet.INVENTORY} {folder}/{fleet.PLAYBOOK}"
        )
        return
    if to is not None:
        raise InvalidInputError(f"rendering {file}", "--to is for -o ansible", hint="Redirect the output.")
    topology = load_topology(file)
    if output == "json":
        emit({"topology": as_mapping(topology)})
    else:
        click.echo(render(topology), nl=False)
