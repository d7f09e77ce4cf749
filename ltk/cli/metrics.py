"""`ltk metrics`: what the daemons count, in Prometheus' text format."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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
    from ltk.node.metrics import Statuses, text

    wanted = load(topology)

    def page() -> str:
        return text(Statuses(statuses(wanted)))

    first = page()  # what is not up is an error at once, not at the first scrape
    if listen is None:
        click.echo(first, nl=False)
    else:
        _serve(listen, page)


def _serve(listen: str, page: Callable[[], str]) -> None:
    from ltk.node.poller import Poller
    from ltk.node.scrape import PATH, PageServer

    poller = Poller()
    with contextlib.closing(poller), contextlib.closing(PageServer(*_address(listen), poller, page)):
        say(f"serving on http://{listen}{PATH}")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                poller.wait()


def statuses(topology: Topology) -> dict[str, Any]:
    """The status of each node that answers; InvalidInputError where none does."""
    from ltk.kernel import paths
    from ltk.node.control import ask
    from ltk.topology.expanded import Role

    found: dict[str, Any] = {}
    for node in topology.nodes:
        if node.role not in (Role.WIREGUARD, Role.HOST) and topology.here in (None, node.name):
            try:
                socket = paths.control_socket(topology.name, node.name)
                found[node.name] = ask(socket, {"do": "status"}, ANSWER_DEADLINE)
            except LtkError:
                continue
    if all(node.role in (Role.WIREGUARD, Role.HOST) for node in topology.nodes):
        raise InvalidInputError(f"reading the metrics of {topology.name}", "no node of it has a daemon")
    if not found:
        hint = f"Bring it up: ltk apply {topology.name}"
        raise InvalidInputError(f"reading the metrics of {topology.name}", "no daemon answers", hint=hint)
    return found


def _address(text: str) -> tuple[str, int]:
    from ipaddress import ip_address

    from ltk.node.config import split_endpoint

    try:
        host, port = split_endpoint(text)
        ip_address(host)
    except ValueError as error:
        raise InvalidInputError("reading --listen", f"{text}: {error}") from None
    return host, port
