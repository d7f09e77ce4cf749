"""What a site's router does, checked and made explicit: its NAT, what it stands behind, what it lets in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ltk.topology.copies import SiteCopy
from ltk.topology.expanded import Forward, Network
from ltk.topology.model import SiteSpec
from ltk.topology.nats import PRESETS, Ipv6, Nat, NatFiltering, NatMapping, NatPreset, Ports, Unsolicited
from ltk.topology.problems import Findings, Path
from ltk.topology.values import MAX_PORT, quote
from ltk.topology.words import suggest

_KEYS_OF_TRANSLATION = ("hairpin", "ports", "sessions")
_PUBLIC = re.compile(r"(udp|tcp)/([0-9]{1,5})")
_TARGET = re.compile(r"([^:]+)(?::([0-9]{1,5}))?")


def nat_of(site: SiteSpec) -> Nat:
    """The site's NAT with nothing left implicit."""
    match site.nat:
        case NatPreset() as preset:
            return PRESETS[preset]
        case spec:
            nat = spec.nat
    if nat.translates:
        return nat
    # without translation there is nothing to turn around, no port to choose and no session to count
    nat = replace(nat, hairpin=False, ports=Ports.PRESERVE, sessions=None)
    if nat.filtering is NatFiltering.ENDPOINT_INDEPENDENT:
        return replace(nat, unsolicited=Unsolicited.ACCEPT)
    return nat


def parents_of(sites: Mapping[str, tuple[SiteCopy, ...]], findings: Findings) -> dict[str, str]:
    """By name of each site that stands behind another: that other's name.

    Notes, and leaves out, those that do not exist or go round in a circle.
    """
    parents = {}
    for copy in (copy for copies in sites.values() for copy in copies):
        if copy.spec.behind is not None and (parent := _parent(copy, copy.spec.behind, sites, findings)):
            parents[copy.name] = parent
    by_name = {copy.name: copy for copies in sites.values() for copy in copies}
    sound = {}
    for name, parent in parents.items():
        chain = list(_outwards(name, parents))
        if chain[-1] == name:
            words = f"{' stands behind '.join(chain)}: nobody is on the internet"
            findings.add((*by_name[name].path, "behind"), words)
        elif chain[-1] not in chain[:-1]:  # otherwise the circle is not this site's, but is in its way
            sound[name] = parent
    return sound


def _parent(
    copy: SiteCopy, word: str, sites: Mapping[str, tuple[SiteCopy, ...]], findings: Findings
) -> str | None:
    """The site that `word` means to this copy of a site."""
    path = (*copy.path, "behind")
    by_name = {each.name: each for copies in sites.values() for each in copies}
    others = sites.get(word, ())
    if word in by_name:
        return word
    if copy.counted and others and len(others) == len(sites[str(copy.path[-1])]):
        return others[copy.index].name
    if findings.has(path) or findings.doubts(("lab", "sites", word, "count")):
        return None
    if others:
        findings.add(path, f"{word} is {len(others)} sites", f"name one of them, such as {others[0].name}")
    else:
        remedy = suggest(word, [*sites, *by_name]) or f"sites are {', '.join([*sites][:8])}"
        findings.add(path, f"there is no site {quote(word)}", remedy)
    return None


def forwards_of(site: SiteCopy, inside: Sequence[str], findings: Findings) -> tuple[Forward, ...]:
    """The ports that lead to one of `inside`, the names of the hosts and sites behind this one."""
    found = []
    for key, value in site.spec.forward.items():
        path = (*site.path, "forward", key)
        public, target = _PUBLIC.fullmatch(key), _TARGET.fullmatch(value)
        if public is None or not 0 < int(public[2]) <= MAX_PORT:
            findings.add(path, f"should be udp/PORT or tcp/PORT, is {quote(key)}", "such as udp/51820")
        elif target is None or not 0 < int(target[2] or 1) <= MAX_PORT:
            findings.add(path, f"should be a host, or HOST:PORT, is {quote(value)}", "such as alice:51820")
        elif name := inside_name(target[1], path, inside, findings):
            protocol: Literal["udp", "tcp"] = "udp" if public[1] == "udp" else "tcp"
            port = int(public[2])
            at = int(target[2] or port)
            if at != port and not nat_of(site.spec).translates:
                findings.add(path, "without NAT a port is the same on both sides", f"write {name}")
            found.append(Forward(protocol, port, name, at))
    return tuple(found)


def inside_name(word: str, path: Path, inside: Sequence[str], findings: Findings) -> str | None:
    """The one of `inside` that `word` means; notes it at `path` where there is none."""
    if word in inside:
        return word
    if not findings.has(path) and not findings.doubts(path[:-2]):
        remedy = suggest(word, inside) or f"here are {', '.join(inside[:8]) or 'none'}"
        findings.add(path, f"no host here is called {quote(word)}", remedy)
    return None


def check_nat(site: SiteCopy, findings: Findings) -> None:
    """The keys of a NAT that is spelled out contradict neither each other nor what can be."""
    path = (*site.path, "nat")
    if isinstance(site.spec.nat, NatPreset) or findings.doubts(path) or findings.doubts_below(path):
        return
    spec, nat = site.spec.nat, site.spec.nat.nat
    match nat:
        case Nat(mapping=NatMapping.NONE):
            _check_untranslated(spec.model_fields_set, nat, path, findings)
        case Nat(mapping=NatMapping.ENDPOINT_INDEPENDENT):
            pass
        case Nat(ports=Ports.PRESERVE):
            problem = (
                f"a mapping that is {nat.mapping} cannot preserve ports: one destination's would be another's"
            )
            findings.add((*path, "ports"), problem, "random, sequential or block-512")


def check_ipv6(site: SiteCopy, internet: Sequence[Network], findings: Findings) -> None:
    """There is IPv6 beside a NAT only where the internet has it and the router is on the internet itself."""
    word, path = site.spec.ipv6, (*site.path, "ipv6")
    if word is None or any(findings.doubts((*site.path, key)) for key in ("nat", "behind", "ipv6")):
        return
    if not nat_of(site.spec).translates:
        findings.add(path, "is for a site with a NAT", "without one, nat holds for both families")
    elif word is not Ipv6.NONE and site.spec.behind is not None:
        problem = f"a site behind {site.spec.behind} has an address of its LAN, which is IPv4, and no other"
        findings.add(path, problem, "leave ipv6 out")
    elif word is not Ipv6.NONE and all(network.version == 4 for network in internet):
        findings.add(path, "the lab's internet has no IPv6", "add an IPv6 subnet to lab.internet")


def _outwards(name: str, parents: Mapping[str, str]) -> Iterator[str]:
    """The site and all that it is behind, up to the internet or to the first that comes twice."""
    seen = set()
    while name not in seen:
        seen.add(name)
        yield name
        if name not in parents:
            return
        name = parents[name]
    yield name


def _check_untranslated(stated: set[str], nat: Nat, path: Path, findings: Findings) -> None:
    for key in _KEYS_OF_TRANSLATION:
        if key in stated:
            findings.add((*path, key), "is for a NAT, and mapping: none is without one", "leave it out")
    if nat.filtering is NatFiltering.ADDRESS_DEPENDENT:
        problem = "a firewall without NAT lets in answers from the very address and port, or everything"
        findings.add((*path, "filtering"), problem, "address-and-port-dependent or endpoint-independent")
    elif "unsolicited" in stated:
        accepts = nat.unsolicited is Unsolicited.ACCEPT
        if accepts is not (nat.filtering is NatFiltering.ENDPOINT_INDEPENDENT):
            problem = f"{nat.unsolicited} contradicts a filtering that is {nat.filtering}"
            findings.add((*path, "unsolicited"), problem, "without NAT, filtering is what is let in")
