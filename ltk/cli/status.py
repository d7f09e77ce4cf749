"""`ltk status`: nodes, peers and paths of a topology that is up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ltk.cli.common import console_for, emit, load, output_option, show, topology_argument
from ltk.cli.unfinished import in_words, unfinished
from ltk.errors import InvalidInputError, LtkError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ltk.topology.expanded import Node, Topology

DRIFT_STATUS = 2
COLUMNS = ("node", "role", "address", "state", "peer", "path", "endpoint", "sent", "received", "why")
WIDE_ONLY = ("role", "address", "sent", "received")  # left out where there is no room for all
REFRESH = 1.0  # seconds between two looks of --watch
ANSWER_DEADLINE = 2.0  # seconds for a daemon's answer
MOST_ROWS = 1000  # of a table; a hundred clients have ten thousand peers, and nothing to do with most of them


@click.command("status", epilog="Example:  ltk status quickstart")
@topology_argument
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@click.option("--exit-code", is_flag=True, help="Exit with 2 where something differs from the topology.")
@output_option
def command(topology: str, watch: bool, exit_code: bool, output: str) -> int:
    """Show nodes, peers, which path carries the data and why, and what differs from the topology."""
    wanted = load(topology)
    # Who waits for a reason to speak is most of a large network, has nothing to tell, and takes long to list.
    short = output != "json" and len(_shown(wanted)) * len(wanted.nodes) > MOST_ROWS
    report = collect(wanted, topology, short=short)
    if output == "json":
        emit(report)
    elif watch:
        _watch(wanted, topology, report, short=short)
    else:
        show(tables(report, short=short))
    return DRIFT_STATUS if exit_code and report["drift"] else 0


def _watch(topology: Topology, word: str, report: dict[str, Any], *, short: bool) -> None:
    from rich.live import Live

    shown = tables(report, short=short)
    with Live(shown, console=console_for(shown)) as live, contextlib.suppress(KeyboardInterrupt):
        while not threading.Event().wait(REFRESH):
            live.update(tables(collect(topology, word, short=short), short=short))


def collect(topology: Topology, word: str, *, short: bool = False) -> dict[str, Any]:
    """The documented JSON of `status`; `word` is what the user calls the topology.

    In `short` it is without the peers that nothing was said to.

    Raises InvalidInputError where the topology is not up at all.
    """
    from ltk.reconcile.apply import exists, preview
    from ltk.reconcile.fault_places import held, listed

    if not exists(topology.name) or (topology.lab is None and topology.here is None):
        hint = f"Bring it up: ltk apply {word}"
        raise InvalidInputError(f"looking at {topology.name}", "it is not up", hint=hint)
    try:
        drift = [f"{operation} ({operation.reason})" for operation in preview(topology)]
    except InvalidInputError as error:  # a secret that was there for apply and is not here now
        drift = [f"whether anything does is unknown: {error}"]
    faults = listed(topology)
    down = {node: f"by the fault {entry.fault!r}" for node, entry in held(topology.name).items()}
    told = _told_by_daemons(topology, down, waiting=not short)
    addresses = {node.name: str(node.addresses[0].ip) for node in topology.nodes if node.addresses}
    nodes = [
        _node(node, told.get(node.name), addresses) | _program(topology, node) for node in _shown(topology)
    ]
    return {
        "topology": topology.name,
        **({} if topology.here is None else {"node": topology.here}),
        "state": "degraded" if drift else "up",
        "drift": drift,
        "faults": [fault.to_json() for fault in faults],
        **unfinished(topology.name),
        "nodes": nodes,
    }


def _shown(topology: Topology) -> list[Node]:
    """All nodes of a lab; of real hosts this one."""
    return [node for node in topology.nodes if topology.here in (None, node.name)]


def _told_by_daemons(
    topology: Topology, held: Mapping[str, str], *, waiting: bool
) -> dict[str, dict[str, Any] | str]:
    """By node what its daemon tells, or why it tells nothing; they are asked side by side."""
    from ltk.kernel import paths
    from ltk.node.control import ask_each
    from ltk.topology.expanded import Role

    daemons = [node.name for node in topology.nodes if node.role not in (Role.WIREGUARD, Role.HOST)]
    asked = [node for node in daemons if node not in held]  # those that are would not answer
    question: dict[str, object] = {"do": "status", "waiting": waiting}
    questions = [(paths.control_socket(topology.name, node), question) for node in asked]
    answers = zip(asked, ask_each(questions, ANSWER_DEADLINE), strict=True)
    return {**held, **{node: str(told) if isinstance(told, LtkError) else told for node, told in answers}}


def _node(node: Node, told: dict[str, Any] | str | None, addresses: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": node.name, "role": node.role.value}
    shown["address"] = str(node.addresses[0].ip) if node.addresses else None
    shown["addresses"] = [str(address.ip) for address in node.addresses]
    if told is None:
        return shown | {"state": "unmanaged", "peers": []}
    if isinstance(told, str):
        return shown | {"state": "stopped", "problem": told, "peers": []}
    peers = [{"address": addresses.get(peer["name"]), **peer} for peer in told["peers"]]
    return shown | {
        "state": told["state"],
        "device": told["device"],
        "listen": told["listen"],
        "listen_tcp": told["listen_tcp"],
        "transport": told["transport"],
        "transport_reason": told["transport_reason"],
        "streams": told["streams"],
        "endpoint_observed": told["endpoint_observed"],
        "nat": told["nat"],
        "drops": told["drops"],
        "public_key": told["public_key"],
        "peers": peers,
    }


def _program(topology: Topology, node: Node) -> dict[str, Any]:
    """What is kept running in the node, where something is."""
    from ltk.supervise import client as supervisor

    if node.run is None:
        return {}
    shown: dict[str, Any] = {"command": node.run.command, "state": "stopped", "pid": None, "restarts": 0}
    with contextlib.suppress(LtkError):
        found = next((each for each in supervisor.programs(topology.name) if each.node == node.name), None)
        if found is not None:
            shown |= {"state": found.state, "pid": found.pid, "restarts": found.restarts}
    return {"program": shown}


def tables(report: dict[str, Any], *, short: bool) -> RenderableType:
    """The report for a person, as `collect` gives it, in `short` or not."""
    from rich.console import Group
    from rich.markup import escape

    from ltk.cli.fitting import Fitting

    rows: list[list[str]] = []
    for node in report["nodes"]:
        first = [node["name"], node["role"], node["address"] or "", _state(node["state"])]
        for peer in node["peers"] or [None]:
            rows.append([*first, *(_peer(peer) if peer else [""] * (len(COLUMNS) - len(first)))])
            first = [""] * len(first)
    drift = [f"[yellow]differs:[/yellow] {escape(line)}" for line in report["drift"]]
    faults = [f"[yellow]fault {e['number']}:[/yellow] {escape(e['fault'])}" for e in report["faults"]]
    unfinished = [f"[yellow]{escape(line)}[/yellow]" for line in in_words(report)]
    programs = [_told(node) for node in report["nodes"] if "program" in node]
    keys = [node["public_key"] for node in report["nodes"] if "node" in report and "public_key" in node]
    own = [f"this machine is {report['node']}, public key {key}" for key in keys]
    rest = ["peers that nothing was said to are left out; all: -o json"] if short else []
    colour = "green" if report["state"] == "up" else "yellow"
    title = f"{report['topology']}: [{colour}]{report['state']}[/{colour}]"
    table = Fitting(COLUMNS, rows, wide_only=WIDE_ONLY, title=title)
    return Group(table, *own, *rest, *programs, *drift, *faults, *unfinished)


def _told(node: dict[str, Any]) -> str:
    from rich.markup import escape

    program = node["program"]
    again = f", started again {program['restarts']} times" if program["restarts"] else ""
    return f"{node['name']} runs {escape(program['command'])}: {_state(program['state'])}{again}"


def _state(state: str) -> str:
    colour = {"running": "green", "unmanaged": "dim"}.get(state, "red")
    return f"[{colour}]{state}[/{colour}]"


def _peer(peer: dict[str, Any]) -> list[str]:
    from rich.markup import escape

    colour = "dim" if peer["path"] == "none" else "green"
    why = peer["reason"].partition(": ")[2] or peer["reason"]
    return [
        peer["name"],
        f"[{colour}]{peer['path']}[/{colour}]",
        escape(peer["endpoint"] or ""),
        _bytes(peer["tx_bytes"]),
        _bytes(peer["rx_bytes"]),
        escape(why),
    ]


def _bytes(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
