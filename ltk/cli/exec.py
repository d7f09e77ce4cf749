"""`ltk exec`: run a command inside a node, a site's router or the internet of a lab."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from ltk.cli.common import node_argument, topology_argument
from ltk.errors import InvalidInputError, LtkError

if TYPE_CHECKING:
    from ltk.topology.expanded import Topology


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example:  ltk exec quickstart alice -- ping -c 3 10.0.0.1",
)
@topology_argument
@node_argument("node")
@click.argument("words", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(topology: str, node: str, words: tuple[str, ...]) -> None:
    """Run CMD inside NODE, with its devices and addresses. The exit status is that of CMD.

    The router of a site goes by the site's name, the network between the sites by `internet`.
    """
    run_inside(topology, node, [*words[1:]] if words[0] == "--" else [*words])


def run_inside(
    topology: str, place: str, words: list[str], environment: dict[str, str] | None = None
) -> None:
    """Become the command `words` in the namespace of `place`; returns only by raising."""
    from ltk.kernel import netns

    if scope := scope_that_is_up(topology, place):
        netns.enter_with_sysfs(scope)
    try:
        os.execvpe(words[0], words, os.environ | (environment or {}))
    except OSError as error:
        raise LtkError(f"running {words[0]} in {place}", str(error.strerror)) from error


def scope_that_is_up(topology: str, place: str) -> str:
    """The namespace of `place`; InvalidInputError where the topology has no such place or is not up."""
    from ltk.cli.common import load

    return scope_of_place(load(topology), topology, place)


def scope_of_place(wanted: Topology, topology: str, place: str) -> str:
    """The same of a topology that has been loaded; `topology` is what the user calls it.

    The node that this very machine is, is in no namespace of ltk's: that one's is the empty name.
    """
    from ltk.kernel import netns
    from ltk.reconcile.resources import HERE, scope_of

    places = [node.name for node in wanted.nodes]
    places += [site.name for site in wanted.lab.sites] + ["internet"] if wanted.lab else []
    doing = f"looking for {place} in {wanted.name}"
    if place not in places:
        raise InvalidInputError(
            doing, "there is no such node or site", hint=f"There are: {', '.join(places)}"
        )
    if wanted.here is not None:
        if place != wanted.here:
            hint = f"This machine is {wanted.here}."
            raise InvalidInputError(doing, f"{place} is another machine", hint=hint)
        return HERE
    scope = scope_of(wanted.name, place)
    if not netns.is_namespace(scope):
        raise InvalidInputError(doing, f"{wanted.name} is not up", hint=f"Bring it up: ltk apply {topology}")
    return scope
