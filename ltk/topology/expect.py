"""The `checks` of a topology file: what cannot hold is refused, what is left open is made explicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path as FilePath

from ltk.errors import InvalidInputError
from ltk.topology.copies import NodeCopy
from ltk.topology.expanded import P2p, PathPolicy, Role, Topology, p2p_of
from ltk.topology.expect_model import CheckSpec, ProgramSpec
from ltk.topology.expected import Check, Claim, Program, Via
from ltk.topology.faults import parse
from ltk.topology.model import TopologySpec, p2p_in
from ltk.topology.pairs import note_unknown
from ltk.topology.problems import Findings, Path
from ltk.topology.quantities import rate_text, share_text

DEFAULT_WITHIN = {
    Claim.REACH: 10_000_000,
    Claim.UNREACHABLE: 2_000_000,
    Claim.RUN: 60_000_000,
}  # microseconds
MAX_SHOWN = 40  # characters of a command in the name of its check

_WAYS = {Via.DIRECT: " directly", Via.RELAY: " by the relay", Via.ANY: ""}


def check_claims(spec: TopologySpec, nodes: Mapping[str, tuple[NodeCopy, ...]], findings: Findings) -> None:
    """Each check is about nodes that there are, and asks for nothing that the rest of the file rules out.

    `nodes` are the copies by the name that the file has for them.
    """
    by_name = {copy.name: copy for copies in nodes.values() for copy in copies}
    if spec.checks and spec.lab is None and not findings.doubts(("lab",)):
        findings.add(("checks",), "are made in a lab, and there is none", "add lab, or leave checks out")
    names: dict[str, int] = {}
    for index, check in enumerate(spec.checks):
        path: Path = ("checks", index)
        if check.name is not None and (first := names.setdefault(check.name, index)) != index:
            findings.add((*path, "name"), f"is the name of checks[{first}] already", "rename one")
        ends = check.reach or check.unreachable or ()
        places = [((*path, check.claim.value, at), name) for at, name in enumerate(ends)]
        places += [((*path, "on"), check.on)] if check.on is not None else []
        for place, name in places:
            if name not in by_name:
                note_unknown(name, place, nodes, by_name, findings)
        if any(name not in by_name for _, name in places):
            continue
        if len(set(ends)) < len(ends):
            findings.add((*path, check.claim.value, 1), f"{ends[0]} is no way from itself", "name two nodes")
        elif check.reach is not None:
            _check_way(spec, check, path, [by_name[name] for name in ends], findings)


def check_in_lab(topology: Topology, findings: Findings) -> None:
    """Notes what cannot be in the lab as it is made: faults that are none, and more than a link carries."""
    for index, check in enumerate(topology.checks):
        for name, rate in _links_between(topology, check):
            if rate and check.throughput is not None and check.throughput > rate:
                problem = f"should be at most {rate_text(rate)}, the rate of {name}"
                findings.add(("checks", index, "throughput"), f"{problem}, is {rate_text(check.throughput)}")
        for at, words in enumerate(check.after):
            try:
                parse(words, topology)
            except InvalidInputError as error:
                findings.add(("checks", index, "after", at), error.problem, error.hint or "")


def _links_between(topology: Topology, check: Check) -> list[tuple[str, int]]:
    """The links that packets between the two nodes pass in any case, each with its rate (0: any)."""
    if topology.lab is None or check.claim is not Claim.REACH:
        return []
    lab = topology.lab
    found = [(f"the link of {name}", lab.host(name).link) for name in check.nodes]
    sites = [lab.site_of(name) for name in check.nodes]
    if sites[0] is not sites[1] and not any(site.behind for site in sites):
        found += [(f"the link of {site.name}", site.link) for site in sites]
    return [(name, link.rate) for name, link in found if link is not None]


def claims_of(spec: TopologySpec, folder: FilePath) -> tuple[Check, ...]:
    """The checks with nothing left implicit, in the file's order; commands run in `folder`, or from there."""
    return tuple(_expanded(check, folder) for check in spec.checks)


def program_of(run: str | ProgramSpec | None, folder: FilePath) -> Program | None:
    """The command of a node or a check, and the folder that it runs in."""
    match run:
        case None:
            return None
        case str():
            return Program(run, str(folder))
        case _:
            return Program(run.command, str(folder / (run.folder or ".")))


def _expanded(check: CheckSpec, folder: FilePath) -> Check:
    claim = check.claim
    expanded = Check(
        name=check.name or "",
        claim=claim,
        nodes=(check.on,) if check.on is not None else check.reach or check.unreachable or (),
        via=check.via,
        within=check.within if check.within is not None else DEFAULT_WITHIN[claim],
        loss=check.loss,
        throughput=check.throughput,
        after=check.after,
        program=program_of(check.run, folder),
    )
    return expanded if check.name else _named(expanded)


def _named(check: Check) -> Check:
    """The same under a name that says all of it."""
    match check:
        case Check(program=Program(command=command), nodes=(node,)):
            words = " ".join(command.split())
            shown = words if len(words) <= MAX_SHOWN else f"{words[: MAX_SHOWN - 1]}…"
            name = f"{node} runs {shown}"
        case Check(claim=Claim.UNREACHABLE, nodes=(one, other)):
            name = f"{one} does not reach {other}"
        case Check(nodes=(one, other)):
            name = f"{one} reaches {other}{_WAYS[check.via]}"
            name += f", loses at most {share_text(check.loss)}" if check.loss is not None else ""
            name += f", carries {rate_text(check.throughput)}" if check.throughput is not None else ""
        case _:
            name = ""
    name += f", after {' and '.join(check.after)}" if check.after else ""
    return replace(check, name=name)


def _check_way(
    spec: TopologySpec, check: CheckSpec, path: Path, ends: list[NodeCopy], findings: Findings
) -> None:
    """That there can be such a way between the two."""
    one, other = (copy.name for copy in ends)
    if any(findings.doubts((*copy.path, "role")) for copy in ends) or findings.doubts(("defaults",)):
        return
    between_clients = all(copy.spec.role is Role.CLIENT for copy in ends)
    if check.via is not Via.ANY and not between_clients:
        problem = "is for two clients: all others have one way to each other"
        findings.add((*path, "via"), problem, "leave it out")
        return
    if not between_clients:
        return
    for server in _servers(spec):
        problem = f"{server} keeps its clients apart, so {one} cannot reach {other}"
        findings.add((*path, "reach"), problem, f"unreachable: [{one}, {other}]")
        return
    pair = next((pair for pair in spec.pairs if set(pair.between) == {one, other}), None)
    policy = pair.path if pair is not None else PathPolicy.AUTO
    general = p2p_in(spec.network.p2p).mode or P2p.ON_DEMAND
    first, second = (p2p_in(copy.spec.p2p).mode or general for copy in ends)
    stated = p2p_in(pair.p2p).mode if pair is not None else None
    p2p = stated or p2p_of(first, second)
    if check.via is Via.DIRECT and (p2p is P2p.OFF or policy is PathPolicy.RELAY_ONLY):
        why = "p2p is off" if p2p is P2p.OFF else "their path is relay-only"
        findings.add((*path, "via"), f"{one} and {other} never look for a direct path: {why}", "via: relay")
    if check.via is Via.RELAY and policy is PathPolicy.DIRECT_ONLY:
        findings.add((*path, "via"), f"the path of {one} and {other} is direct-only", "via: direct")


def _servers(spec: TopologySpec) -> list[str]:
    """The servers that keep their clients apart."""
    default = spec.defaults.node
    return [
        name
        for name, node in spec.nodes.items()
        if (node.role if "role" in node.model_fields_set else default.role) is Role.SERVER
        and (node.isolation if "isolation" in node.model_fields_set else default.isolation)
    ]
