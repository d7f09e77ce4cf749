"""Nodes without a tunnel (`role: host`), and what nodes of a lab run (`run`)."""

from __future__ import annotations

from collections.abc import Iterable

from ltk.topology.copies import NodeCopy
from ltk.topology.expanded import Role
from ltk.topology.model import TopologySpec
from ltk.topology.problems import Findings

_KEYS_OF_HOSTS = frozenset({"role", "count", "run"})


def check_hosts(spec: TopologySpec, nodes: Iterable[NodeCopy], findings: Findings) -> None:
    """A host says nothing of a tunnel; whoever is none has a network; only a lab has hosts and commands."""
    in_a_lab = spec.lab is not None or findings.doubts(("lab",))
    tunnels = False
    for copy in nodes:
        role_in_doubt = findings.doubts((*copy.path, "role")) or findings.doubts(("defaults", "node", "role"))
        tunnels |= copy.spec.role is not Role.HOST and not role_in_doubt
        if copy.index > 0:
            continue
        if copy.spec.role is Role.HOST:
            _check_host(spec, copy, findings)
            if not in_a_lab:
                path = (*copy.path, "role") if "role" in copy.spec.model_fields_set else copy.path
                findings.add(path, "a host is a place in a lab, and there is none", "add lab")
        if copy.spec.run is not None and not in_a_lab:
            problem = "is for nodes of a lab, and there is none"
            findings.add((*copy.path, "run"), problem, "on real hosts something else keeps programs running")
    if tunnels and not spec.network.subnet and not findings.doubts(("network",)):
        findings.add(("network",), "is missing")


def _check_host(spec: TopologySpec, copy: NodeCopy, findings: Findings) -> None:
    stated = spec.nodes[str(copy.path[-1])].model_fields_set  # what defaults say is not meant for hosts
    for key in sorted(stated - _KEYS_OF_HOSTS):
        findings.add((*copy.path, key), "is for the end of a tunnel, and a host has none", "leave it out")
