"""From where to where a check sends: namespaces and addresses."""

from __future__ import annotations

from dataclasses import dataclass

from ltk.errors import LtkError
from ltk.reconcile.resources import scope_of
from ltk.topology.expanded import Address, Lab, Topology


@dataclass(frozen=True, slots=True)
class End:
    """A node as one end of a way: its namespace, and an address in it for each family."""

    node: str
    scope: str
    addresses: tuple[Address, ...]


def ends(topology: Topology, one: str, other: str) -> tuple[End, End]:
    """The two nodes at their tunnel addresses; at those of the underlay where one of them has no tunnel.

    Both have as many addresses, of the same families. Raises LtkError where they share none.
    """
    lab, nodes = lab_of(topology), [topology.node(name) for name in (one, other)]
    tunnel = all(node.addresses for node in nodes)
    found = [node.addresses if tunnel else lab.host(node.name).addresses for node in nodes]
    by_version = [{own.version: own.ip for own in addresses} for addresses in found]
    shared = [version for version in by_version[0] if version in by_version[1]]
    if not shared:
        raise LtkError(f"sending from {one} to {other}", "they have no addresses of the same family")
    made = [
        End(node.name, scope_of(topology.name, node.name), tuple(addresses[version] for version in shared))
        for node, addresses in zip(nodes, by_version, strict=True)
    ]
    return made[0], made[1]


def lab_of(topology: Topology) -> Lab:
    """The topology's lab; raises LtkError where it has none."""
    if topology.lab is None:
        raise LtkError(f"looking at {topology.name}", "it has no lab")
    return topology.lab
