"""`ltk why`: each way from one node to another, and why it is the path or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ltk.cli.common import emit, load, node_argument, output_option, show, topology_argument
from ltk.cli.exec import scope_of_place
from ltk.errors import InvalidInputError, LtkError

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = ("kind", "endpoint", "state", "probed", "proven", "round trip", "why")
WIDE_ONLY = ("proven", "round trip")  # left out where there is no room for all


@click.command("why", epilog="Example:  ltk why quickstart alice bob")
@topology_argument
@node_argument("node")
@node_argument("peer")
@output_option
def command(topology: str, node: str, peer: str, output: str) -> None:
    """Show every way from NODE to PEER: its last probe, its last proof, and why it is the path or not."""
    from ltk.kernel import paths
    from ltk.node.control import NobodyListensError, ask
    from ltk.topology.expanded import Role

    wanted = load(topology)
    scope_of_place(wanted, topology, node)
    tunnels = [each.name for each in wanted.nodes if each.role not in (Role.HOST, Role.WIREGUARD)]
    if node not in tunnels:
        roles = {each.name: each.role for each in wanted.nodes}
        is_what = {None: "a router", Role.HOST: "a host", Role.WIREGUARD: "a stock WireGuard peer"}
        problem = f"it is {is_what[roles.get(node)]} and has no daemon of ltk's"
        hint = f"There are: {', '.join(tunnels)}" if tunnels else None
        raise InvalidInputError(f"looking at {node}", problem, hint=hint)
    socket = paths.control_socket(wanted.name, node)
    try:
        status: Any = ask(socket, {"do": "status"})
    except NobodyListensError:
        raise _not_running(wanted.name, node) from None
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


def _not_running(topology: str, node: str) -> LtkError:
    from ltk.reconcile.fault_places import held

    doing, problem = f"asking {node} for its ways", "its daemon does not run"
    if (fault := held(topology).get(node)) is not None:
        undo = f"To undo that: ltk fault {topology} clear {fault.number}"
        return LtkError(doing, f"{problem}, by the fault {fault.fault!r}", hint=undo)
    return LtkError(doing, problem, hint=f"This starts it: ltk apply {topology}")


def _table(candidates: list[dict[str, Any]]) -> RenderableType:
    from rich.markup import escape

    from ltk.cli.fitting import Fitting

    rows = [
        [
            each["kind"],
            escape(each["endpoint"] or ""),
            each["state"],
            _ago(each["probe_age_s"]),
            _ago(each["proof_age_s"]),
            "" if each["rtt_ms"] is None else f"{each['rtt_ms']:.1f} ms",
            escape(each["reason"]),
        ]
        for each in candidates
    ]
    return Fitting(COLUMNS, rows, wide_only=WIDE_ONLY)


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s ago"
