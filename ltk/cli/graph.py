"""`ltk graph`: a picture of a topology."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltk.cli.common import load, say, topology_argument, unwritable
from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from ltk.topology.expanded import Topology

SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot"}


@click.command("graph", epilog="Example:  ltk graph quickstart -o quickstart.svg")
@topology_argument
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "svg"]),
    envvar="LTK_FORMAT",
    show_envvar=True,
    help="What to draw it in; by default what the name of FILE ends in, else mermaid.",
)
@click.option("-o", "--to", metavar="FILE", help="Write it there, and not to standard output.")
def command(topology: str, form: str | None, to: str | None) -> None:
    """Draw the internet, sites with their NATs, hosts, and the tunnels between them.

    Where the topology is up, each tunnel is drawn as the path that it has: direct or by the relay, with its
    round trip.
    """
    from ltk.graph.dot import dot
    from ltk.graph.mermaid import mermaid
    from ltk.graph.picture import picture
    from ltk.graph.svg import svg

    wanted = load(topology)
    form = form or SUFFIXES.get(Path(to or "").suffix, "mermaid")
    text = {"mermaid": mermaid, "dot": dot, "svg": svg}[form](picture(wanted, _statuses(wanted)))
    if to is None:
        click.echo(text, nl=False)
        return
    try:
        Path(to).write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(to, error) from None
    say(f"{to}: {wanted.name} in {form}")


def _statuses(topology: Topology) -> dict[str, Any] | None:
    """What each daemon of a lab says of itself; None where none answers: it is not up."""
    from ltk.cli.metrics import statuses

    if topology.here is not None:
        return None  # of the others, which are other machines, nothing is known
    try:
        return statuses(topology)
    except InvalidInputError:
        return None
