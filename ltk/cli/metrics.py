"""`ltk metrics`: what the daemons count, in Prometheus' text format."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ltk.cli.common import load, say, topology_argument
from ltk.errors import InvalidInputError, LtkError

if TYPE_CHECKING:
    from ltk.topology.expanded import Topology

ANSWER_DEADLINE = 2.0  # seconds for a daemon's answer


@click.command("metrics", epilog="Example:  ltk metrics quickstart")
@topology_argument
@click.option(
    "--listen", metavar="ADDRESS:PORT", help="Serve them over HTTP, anew for each scrape, until Ctrl-C."
)
def command(topology: str, listen: str | None) -> None:
    """Print the counters of all nodes of a topology that is up, with the node as a label."""
    from prometheus_client import CollectorRegistry, start_http_server

    from ltk.node.metrics import Statuses, text

    wanted = load(topology)

    class Living(Statuses):
        """The nodes as they are at each scrape."""

        def look(self) -> Mapping[str, Any]:
            return statuses(wanted)

    collector = Living()
    if listen is None:
        click.echo(text(collector), nl=False)
        return
    host, port = _address(listen)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    start_http_server(port, addr=host, registry=registry)
    say(f"serving on http://{listen}/metrics")
    threading.Event().wait()


def statuses(topology: Topology) -> dict[str, Any]:
    """The status of each node that answers; InvalidInputError where none does."""
    from ltk.kernel import paths
    from ltk.node.control import ask
    from ltk.topology.expanded import Role

    found: dict[str, Any] = {}
    for node in topology.nodes:
        if node.role is not Role.WIREGUARD:
            try:
                socket = paths.control_socket(topology.name, node.name)
                found[node.name] = ask(socket, {"do": "status"}, ANSWER_DEADLINE)
            except LtkError:
                continue
    if not found:
        hint = f"Bring it up: ltk apply {topology.name}"
        raise InvalidInputError(f"reading the metrics of {topology.name}", "no daemon answers", hint=hint)
    return found


def _address(text: str) -> tuple[str, int]:
    from ltk.node.config import split_endpoint

    try:
        return split_endpoint(text)
    except ValueError as error:
        raise InvalidInputError("reading --listen", f"{text} {error}") from None
