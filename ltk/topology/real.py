"""The same file on real hosts: what is only for a lab is left out, and a machine is one of the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ltk.topology.copies import with_defaults
from ltk.topology.expanded import Role
from ltk.topology.model import TopologySpec

ChooseHere: TypeAlias = Callable[[str, bool], str | None]
"""Given a topology's name and whether it has a lab: the node that this machine is, None for none of them."""


def nowhere(_name: str, _has_lab: bool) -> None:
    """For whoever wants the file as it is written."""


def without_lab(spec: TopologySpec) -> TopologySpec:
    """The topology of real hosts: neither a lab nor what only a lab can have.

    Nodes without a tunnel are places of a lab, and so are the commands that it keeps running; checks are
    about it.
    """
    nodes = with_defaults(spec.nodes, spec.defaults.node)
    kept = {
        name: node if node.run is None else node.model_copy(update={"run": None})
        for name, node in spec.nodes.items()
        if nodes[name].role is not Role.HOST
    }
    return spec.model_copy(update={"lab": None, "checks": (), "nodes": kept})
