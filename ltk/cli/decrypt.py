"""Whose session keys open what passes a place of a lab: for `ltk capture --decrypt`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ltk.cli.common import say
from ltk.errors import InvalidInputError, LtkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ltk.capture.keys import NodeKeys, Ring
    from ltk.topology.expanded import Topology

INTERNET = "internet"


def rings(wanted: Topology, places: Sequence[str]) -> list[Ring]:
    """For each place the keys of the nodes that stand there, which have been asked for them.

    At a node these are its own, at a router those of all behind it, on the internet all. Raises
    InvalidInputError for a node that has none, and LtkError where none of a place's daemons answers.
    """
    from ltk.capture.keys import NodeKeys, Ring
    from ltk.kernel import paths
    from ltk.node.disclosure import ask_for_keys

    known: dict[str, NodeKeys] = {}
    found = []
    for place in places:
        nodes = nodes_at(wanted, place)
        for node in nodes:
            if node not in known:
                socket = paths.control_socket(wanted.name, node)
                known[node] = NodeKeys(node, partial(ask_for_keys, socket))
        found.append(Ring([known[node] for node in nodes]))
    _fetch(known, found)
    return found


def _fetch(known: dict[str, NodeKeys], rings: Sequence[Ring]) -> None:
    """Have all tell their keys; say who does not, and raise where a place is left with none."""
    failed: dict[str, LtkError] = {}
    for node, keys in known.items():
        try:
            keys.fetch()
        except LtkError as error:
            failed[node] = error
    for ring in rings:
        if ring.nodes and all(each.node in failed for each in ring.nodes):
            raise failed[ring.nodes[0].node]
    for each in failed.values():
        say(str(each))


def nodes_at(wanted: Topology, place: str) -> list[str]:
    """The nodes with a daemon that stand at a place: itself, behind a router at any depth, or anywhere."""
    from ltk.topology.expanded import Role

    keyed = {node.name for node in wanted.nodes if node.role in (Role.SERVER, Role.CLIENT)}
    if any(node.name == place for node in wanted.nodes):
        if place not in keyed:
            raise InvalidInputError(
                f"opening what passes {place}", "ltk runs no daemon there that would have keys"
            )
        return [place]
    sites = wanted.lab.sites if wanted.lab is not None else ()
    behind = {place}
    for _ in sites:  # as often as sites can be behind each other
        behind |= {site.name for site in sites if site.behind in behind}
    hosts = [host.node for site in sites if place == INTERNET or site.name in behind for host in site.hosts]
    return [node for node in hosts if node in keyed]
