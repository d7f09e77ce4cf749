"""`ltk ping`: who reaches whom through the tunnels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ltk.cli.common import emit, load, node_argument, output_option, show, topology_argument
from ltk.cli.exec import scope_of_place
from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from ltk.topology.expanded import Topology

FAILED = 1
Pair = tuple[str, str]


@click.command("ping", epilog="Example:  ltk ping quickstart alice bob")
@topology_argument
@node_argument("source", metavar="[A", required=False)
@node_argument("target", metavar="B]", required=False)
@click.option(
    "--timeout", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="Seconds to wait."
)
@output_option
def command(topology: str, source: str | None, target: str | None, timeout: float, output: str) -> int:
    """Send an echo request from A to B, or from every node to every other, at their tunnel addresses.

    Prints the round-trip times in milliseconds. Exits with 1 where an answer is missing.
    """
    from ltk.kernel.icmp import Question, sweep

    wanted = load(topology)
    pairs = _pairs(wanted, source, target)
    sources = dict.fromkeys(name for name, _ in pairs)
    scopes = {name: scope_of_place(wanted, topology, name) for name in sources}
    questions = {
        (a, b): [Question(scopes[a], address.ip) for address in wanted.node(b).addresses] for a, b in pairs
    }
    answers = sweep([each for some in questions.values() for each in some], timeout)
    times = {
        pair: None
        if any(answers[each] is None for each in some)
        else max(answers[each] or 0.0 for each in some)
        for pair, some in questions.items()
    }
    if output == "json":
        rows = [{"from": a, "to": b, "rtt_ms": _milliseconds(rtt)} for (a, b), rtt in times.items()]
        emit({"topology": wanted.name, "pings": rows})
    elif source and target:
        rtt = times[source, target]
        click.echo(f"{source} -> {target}: " + ("no answer" if rtt is None else f"{rtt * 1000:.2f} ms"))
    else:
        _print_matrix(times)
    return FAILED if None in times.values() else 0


def _pairs(topology: Topology, source: str | None, target: str | None) -> list[Pair]:
    """The pairs to try; a stock WireGuard peer is run by somebody else and is asked only by name.

    A host is in no tunnel.
    """
    from ltk.topology.expanded import Role

    names = [node.name for node in topology.nodes]
    for name in (source, target):
        if name is not None and name not in names:
            hint = f"There are: {', '.join(names)}"
            raise InvalidInputError(
                f"looking for {name} in {topology.name}", "there is no such node", hint=hint
            )
    for name in (source, target):
        if name is not None and topology.node(name).role is Role.HOST:
            hint = f"From inside: ltk exec {topology.name} NODE -- ping ADDRESS"
            raise InvalidInputError(f"pinging {name}", "it is a host and has no tunnel", hint=hint)
    outside = (Role.WIREGUARD, Role.HOST)
    ours = [node.name for node in topology.nodes if node.role not in outside]
    from_here = ours if topology.here is None else [topology.here]
    sources = [source] if source else from_here
    targets = [target] if target else ours
    if not targets or not sources:
        hint = f"From inside: ltk exec {topology.name} NODE -- ping ADDRESS"
        raise InvalidInputError(f"pinging in {topology.name}", "no node of it has a tunnel", hint=hint)
    return [(a, b) for a in sources for b in targets if a != b or (source and target)]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _print_matrix(times: dict[Pair, float | None]) -> None:
    from rich import box
    from rich.table import Table

    names = list(dict.fromkeys(name for pair in times for name in pair))
    targets = [name for name in names if any(b == name for _, b in times)]
    table = Table("ms", *targets, box=box.SIMPLE)
    for source in dict.fromkeys(a for a, _ in times):
        cells = []
        for target in targets:
            rtt = times.get((source, target))
            lost = (source, target) in times and rtt is None
            cells.append("[red]lost[/red]" if lost else "" if rtt is None else f"{rtt * 1000:.2f}")
        table.add_row(source, *cells)
    show(table)
