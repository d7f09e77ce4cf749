"""`ltk why`: each way from one node to another, and why it is the path or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ltk.cli.common import emit, load, node_argument, output_option, show, topology_argument
from ltk.cli.exec import scope_that_is_up
from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("why", epilog="Example:  ltk why quickstart alice bob")
@topology_argument
@node_argument("node")
@node_argument("peer")
@output_option
def command(topology: str, node: str, peer: str, output: str) -> None:
    """Show every way from NODE to PEER: its last probe, its last proof, and why it is the path or not."""
    from ltk.kernel import paths
    from ltk.node.control import ask
    from ltk.topology.expanded import Role

    wanted = load(topology)
    scope_that_is_up(topology, node)
    if any(each.name == node and each.role is Role.HOST for each in wanted.nodes):
        raise InvalidInputError(f"looking at {node}", "it is a host and has no tunnel")
    socket = paths.control_socket(wanted.name, node)
    status: Any = ask(socket, {"do": "status"})
    summary = next((each for each in status["peers"] if each["name"] == peer), None)
    if summary is None:
        known = ", ".join(each["name"] for each in status["peers"])
        raise InvalidInputError(f"looking for {peer}", f"{node} has no such peer", hint=f"There are: {known}")
    told: dict[str, Any] = ask(socket, {"do": "why", "peer": peer})
    if output == "json":
        emit(
            {
                "topology": wanted.name,
                "node": node,
                "peer": peer,
                "path": summary["path"],
                "reason": summary["reason"],
                "candidates": told["candidates"],
            }
        )
        return
    click.echo(f"{node} -> {peer}: {summary['reason']}")
    if told["candidates"]:
        show(_table(told["candidates"]))


def _table(candidates: list[dict[str, Any]]) -> RenderableType:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table("kind", "endpoint", "state", "probed", "proven", "round trip", "why", box=box.SIMPLE)
    for each in candidates:
        table.add_row(
            each["kind"],
            escape(each["endpoint"] or ""),
            each["state"],
            _ago(each["probe_age_s"]),
            _ago(each["proof_age_s"]),
            "" if each["rtt_ms"] is None else f"{each['rtt_ms']:.1f} ms",
            escape(each["reason"]),
        )
    return table


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s ago"
