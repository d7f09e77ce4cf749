"""What holds between two clients in particular: the `pairs` of a topology file."""

from __future__ import annotations

from collections.abc import Mapping

from ltk.topology.copies import NodeCopy
from ltk.topology.expanded import Node, P2p, Pair, PathPolicy, Role, hard_nat_of, p2p_of
from ltk.topology.model import PairSpec, TopologySpec, p2p_in
from ltk.topology.problems import Findings, Path
from ltk.topology.values import quote
from ltk.topology.words import suggest

_PAIRS: Path = ("pairs",)
_KINDS = {
    Role.SERVER: "the server",
    Role.WIREGUARD: "a stock WireGuard peer",
    Role.HOST: "a host without a tunnel",
}


def check_pairs(spec: TopologySpec, nodes: Mapping[str, tuple[NodeCopy, ...]], findings: Findings) -> None:
    """Each pair is two different clients that reach each other, stands once, and leaves them a way.

    `nodes` are the copies by the name that the file has for them.
    """
    by_name = {copy.name: copy for copies in nodes.values() for copy in copies}
    isolating = next((copy for copy in by_name.values() if _isolates(copy)), None)
    seen: dict[frozenset[str], int] = {}
    for index, pair in enumerate(spec.pairs):
        path = (*_PAIRS, index)
        for place, name in enumerate(pair.between):
            _check_name(name, (*path, "between", place), nodes, by_name, findings)
        if findings.has(path) or any(name not in by_name for name in pair.between):
            continue
        one, other = pair.between
        first = seen.setdefault(frozenset(pair.between), index)
        if one == other:
            findings.add((*path, "between", 1), f"{one} is no pair with itself", "name two clients")
        elif first != index:
            findings.add(path, f"{one} and {other} are a pair above already", f"see pairs[{first}]")
        elif isolating is not None:
            problem = f"{isolating.name} keeps its clients apart"
            findings.add(path, problem, "with isolation there is nothing between two clients")
        else:
            _check_policy(spec, pair, path, by_name, findings)


def pairs_of(spec: TopologySpec, nodes: tuple[Node, ...]) -> tuple[Pair, ...]:
    """The pairs that the file names, with what follows from the nodes where it says nothing."""
    by_name = {node.name: node for node in nodes}
    return tuple(_pair(pair, *(by_name[name] for name in pair.between)) for pair in spec.pairs)


def _pair(pair: PairSpec, one: Node, other: Node) -> Pair:
    wish = p2p_in(pair.p2p)
    return Pair(
        (one.name, other.name),
        wish.mode or p2p_of(one.p2p, other.p2p),
        wish.hard_nat or hard_nat_of(one.hard_nat, other.hard_nat),
        pair.path,
    )


def _isolates(copy: NodeCopy) -> bool:
    return copy.spec.role is Role.SERVER and copy.spec.isolation


def _check_name(
    name: str,
    path: Path,
    nodes: Mapping[str, tuple[NodeCopy, ...]],
    by_name: Mapping[str, NodeCopy],
    findings: Findings,
) -> None:
    copy = by_name.get(name)
    if copy is not None:
        in_doubt = findings.doubts((*copy.path, "role")) or findings.doubts(("defaults", "node", "role"))
        if copy.spec.role is not Role.CLIENT and not in_doubt:
            findings.add(path, f"{name} is {_KINDS[copy.spec.role]}", "a pair is two clients")
        return
    note_unknown(name, path, nodes, by_name, findings)


def note_unknown(
    name: str,
    path: Path,
    nodes: Mapping[str, tuple[NodeCopy, ...]],
    by_name: Mapping[str, NodeCopy],
    findings: Findings,
) -> None:
    """Note that no node has the name that stands at `path`, unless that may be due to what was refused."""
    if findings.doubts(("nodes", name)) or any(
        name.startswith(known) and findings.doubts(("nodes", known, "count")) for known in nodes
    ):
        return
    if name in nodes:
        copies = nodes[name]
        findings.add(path, f"{name} is {len(copies)} nodes", f"name one of them, such as {copies[0].name}")
        return
    known = ", ".join(each.name for each in list(by_name.values())[:8]) or "none"
    findings.add(path, f"there is no node {quote(name)}", suggest(name, by_name) or f"nodes are {known}")


def _check_policy(
    spec: TopologySpec, pair: PairSpec, path: Path, by_name: Mapping[str, NodeCopy], findings: Findings
) -> None:
    """A pair says something, and does not forbid every way."""
    if not pair.model_fields_set & {"p2p", "path"}:
        doubtful = findings.doubts((*path, "p2p")) or findings.doubts((*path, "path"))
        if not doubtful:
            findings.add(path, "says nothing about the two", "add p2p or path, or leave it out")
        return
    stated = p2p_in(pair.p2p).mode
    general = p2p_in(spec.network.p2p).mode or P2p.ON_DEMAND
    one, other = (p2p_in(by_name[name].spec.p2p).mode or general for name in pair.between)
    if pair.path is PathPolicy.DIRECT_ONLY and (stated or p2p_of(one, other)) is P2p.OFF:
        problem = "with p2p: off there is no direct path, so nothing could pass"
        findings.add((*path, "path"), problem, "p2p: on-demand, or path: relay-only")
    if pair.path is PathPolicy.RELAY_ONLY and stated is P2p.EAGER:
        problem = "with p2p: eager these two look for a direct path that they may not use"
        findings.add((*path, "path"), problem, "leave out one of them")
