"""What the verbs say and ask where this machine is a node itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from ltk.cli.common import YES, expanded
from ltk.errors import InvalidInputError, LtkError

if TYPE_CHECKING:
    from ltk.reconcile.plan import Operation
    from ltk.topology.expanded import Topology
    from ltk.topology.text import Text


def on_this_machine(text: Text, node: str | None) -> Topology:
    """The topology as this machine is to be: `node` of it, or the one that it is, or its lab.

    One without a lab is of real hosts; then by default the host's name says which. Raises
    InvalidInputError for a node that is none, or none of ltk's.
    """
    wanted = expanded(text, node, otherwise=_host_name())
    if wanted.here is None:
        return wanted
    from ltk.topology.expanded import Role

    ours = [each.name for each in wanted.nodes if each.role in (Role.SERVER, Role.CLIENT)]
    if wanted.here not in ours:
        stock = any(each.name == wanted.here for each in wanted.nodes)
        problem = "it is a stock WireGuard peer, which ltk does not run" if stock else "there is no such node"
        otherwise = ", or add a lab" if node is None else ""
        hint = f"Say which one this machine is: --node {ours[0]}{otherwise}. There are: {', '.join(ours)}"
        raise InvalidInputError(f"applying {wanted.name} as {wanted.here}", problem, hint=hint)
    return wanted


def ask_before_removing(doing: str, removed: Callable[[], Sequence[Operation]]) -> None:
    """On a terminal, show what is to be removed from this machine and ask; raises LtkError for a no.

    `removed` is asked for only then, and where it is nothing nobody is asked.
    """
    if click.get_current_context().meta.get(YES) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    operations = removed()
    for each in operations:
        click.echo(str(each), err=True)
    if operations and not click.confirm(f"{doing}: remove this?", err=True):
        raise LtkError(doing, "you said no, and nothing was changed")


def told(topology: Topology) -> dict[str, object]:
    """Of the documented JSON, what it says of this machine as a node; nothing of a lab."""
    if topology.here is None:
        return {}
    return {"node": topology.here, "public_key": public_key(topology)}


def tell(topology: Topology) -> None:
    """Print the node's public key where the file, which the others have as well, does not say it yet."""
    if topology.here is not None and topology.node(topology.here).public_key is None:
        click.echo(f"for the file, at {topology.here}:  public_key: {public_key(topology)}", err=True)


def public_key(topology: Topology) -> str:
    """The key by which the others know this machine; raises InvalidInputError where it has none yet."""
    from ltk.kernel import paths
    from ltk.node.config import encode_key, read_key_file
    from ltk.protocol.primitives import public_key_of

    assert topology.here is not None, "on a real host"
    return encode_key(public_key_of(read_key_file(paths.key_file(topology.name, topology.here))))


def _host_name() -> str:
    return os.uname().nodename.partition(".")[0]
