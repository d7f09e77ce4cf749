"""A lab's sites and hosts with all their addresses.

The internet's core has the first address of each of its subnets. Then, in the file's order, each
site's router gets one address per subnet, and so does each host of a site without NAT, reached
through that router. Behind a NAT the router has the first address of the LAN and hosts the next.
Whatever the file states is taken first; only then are free addresses handed out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network

from ltk.topology.addresses import Pool, address, alone, claim, free_lans, interface
from ltk.topology.copies import NodeCopy, SiteCopy
from ltk.topology.expanded import Address, Host, Interface, Lab, NatKind, Network, Role, Site
from ltk.topology.links import link_of
from ltk.topology.model import HostSpec, LabSpec
from ltk.topology.problems import Findings, Path
from ltk.topology.values import host_range
from ltk.topology.words import suggest

MIN_LAN_HOSTS = 2  # the router and one host

_SITES: Path = ("lab", "sites")


@dataclass(frozen=True, slots=True)
class Stand:
    """The nodes that one entry of a site's `hosts` puts there, and the addresses it states."""

    names: tuple[str, ...]
    spec: HostSpec
    path: Path


@dataclass(slots=True)
class Place:
    """A site on its way to having addresses: by IP version, the numbers that it and its hosts have."""

    copy: SiteCopy
    stands: list[Stand]
    lan: IPv4Network | None = None
    wan: dict[int, int] = field(default_factory=dict)
    inside: dict[int, int] = field(default_factory=dict)  # the router's address on the LAN
    hosts: dict[str, dict[int, int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.copy.name

    @property
    def path(self) -> Path:
        return self.copy.path

    @property
    def has_nat(self) -> bool:
        return self.copy.spec.nat is not NatKind.NONE


def settle(
    nodes: Mapping[str, tuple[NodeCopy, ...]], sites: Mapping[str, tuple[SiteCopy, ...]], findings: Findings
) -> list[Place]:
    """Who stands where. Notes hosts that do not exist or stand twice, and nodes that are left over."""
    by_name = {copy.name: copy for copies in nodes.values() for copy in copies}
    where: dict[str, str] = {}
    places = []
    for site in itertools.chain.from_iterable(sites.values()):
        stands = []
        for word, spec, path in _entries(site):
            names = _names_here(word, path, site, nodes, by_name, len(sites[str(site.path[-1])]), findings)
            for name in names:
                if name in where and not findings.has(path):
                    findings.add(path, f"{name} stands in {where[name]} already", "a node is in one site")
                if by_name[name].spec.role is Role.SERVER and site.spec.nat is not NatKind.NONE:
                    problem = (
                        f"nobody can reach the server {name} behind the {site.spec.nat} NAT of {site.name}"
                    )
                    findings.add(path, problem, "put it into a site without nat")
                where.setdefault(name, site.name)
            if names:
                stands.append(Stand(names, spec, path))
        places.append(Place(site, stands))
    if not any(path[:1] == ("lab",) for path in findings.doubtful) and not findings.has(_SITES):
        for copy in by_name.values():
            in_doubt = findings.has(copy.path) or findings.doubts((*copy.path, "count"))
            if copy.name not in where and not in_doubt:
                findings.add(copy.path, "stands in no site of the lab", "add it to the hosts of one")
    return places


def _entries(site: SiteCopy) -> Iterator[tuple[str, HostSpec, Path]]:
    path = (*site.path, "hosts")
    match site.spec.hosts:
        case dict() as hosts:
            yield from ((word, spec, (*path, word)) for word, spec in hosts.items())
        case words:
            yield from ((word, HostSpec(), (*path, index)) for index, word in enumerate(words))


def _names_here(
    word: str,
    path: Path,
    site: SiteCopy,
    nodes: Mapping[str, tuple[NodeCopy, ...]],
    by_name: Mapping[str, NodeCopy],
    sites: int,
    findings: Findings,
) -> tuple[str, ...]:
    """The nodes that `word` means in this copy of a site, of which there are `sites`."""
    copies = nodes.get(word) or ((by_name[word],) if word in by_name else ())
    if not copies:
        uncounted = any(word.startswith(name) and findings.doubts(("nodes", name, "count")) for name in nodes)
        if not uncounted and not findings.doubts(("nodes", word)):
            known = ", ".join(itertools.islice(nodes, 8)) or "none"
            findings.add(
                path, "there is no such node", suggest(word, [*nodes, *by_name]) or f"nodes are {known}"
            )
        return ()
    if not site.counted:
        return tuple(copy.name for copy in copies)
    if word in nodes and copies[0].counted and len(copies) == sites:
        return (copies[site.index].name,)
    in_doubt = findings.doubts(("nodes", word, "count")) or findings.doubts((*site.path, "count"))
    if not in_doubt and not findings.has(path):
        many = f"{len(copies)} copies" if word in nodes and copies[0].counted else "one node"
        findings.add(path, f"{word} is {many} for {sites} sites", f"with count: {sites} one stands in each")
    return ()


def address_lab(spec: LabSpec, places: list[Place], avoid: list[Network], findings: Findings) -> Lab | None:
    """Give every router and host its addresses. LANs that the file leaves open share nothing with `avoid`.

    Returns None where there are no sound internet subnets to hand out addresses from.
    """
    if findings.doubts(("lab", "internet")) or findings.has(("lab", "internet")):
        return None
    pools: dict[int, Pool] = {network.version: Pool(network, "lab.internet") for network in spec.internet}
    for pool in pools.values():
        pool.take_next("the internet's core")
    for place in places:
        if place.has_nat and 4 not in pools:
            path: Path = (*place.path, "nat")
            if not findings.has(path):
                findings.add(
                    path, "a NAT needs an IPv4 internet, and lab.internet has none", "add 203.0.113.0/24"
                )
            return None
    _claim_stated(pools, places, findings)
    _hand_out_public(pools, places, findings)
    stated = [place.copy.spec.lan for place in places if place.copy.spec.lan is not None]
    lans = free_lans([*spec.internet, *avoid, *stated])
    for place in places:
        if place.has_nat:
            _address_lan(place, lans, findings)
    if findings.found:
        return None
    core = tuple(address(network, host_range(network).start) for network in spec.internet)
    return Lab(spec.internet, core, tuple(_site(place, spec.internet) for place in places))


def _claim_stated(pools: Mapping[int, Pool], places: list[Place], findings: Findings) -> None:
    for place in places:
        shift = place.copy.index
        path = (*place.path, "wan")
        place.wan = claim(pools, place.copy.spec.wan or (), (place.name,), path, findings, shift)
        if not place.has_nat:
            for stand in place.stands:
                _claim_hosts(pools, place, stand, findings, shift)


def _claim_hosts(
    pools: Mapping[int, Pool], place: Place, stand: Stand, findings: Findings, shift: int
) -> None:
    path = (*stand.path, "address")
    first = claim(pools, stand.spec.address or (), stand.names, path, findings, shift)
    for index, name in enumerate(stand.names):
        place.hosts[name] = {version: number + index for version, number in first.items()}


def _hand_out_public(pools: Mapping[int, Pool], places: list[Place], findings: Findings) -> None:
    """One address per family for every router and every host without NAT that has none yet."""
    owners = [
        owner
        for place in places
        for owner in ((place.name, place.wan), *(() if place.has_nat else place.hosts.items()))
    ]
    for version, pool in pools.items():
        for name, numbers in owners:
            if version not in numbers:
                number = pool.take_next(name)
                if number is None:
                    findings.add(("lab", "internet"), pool.too_small_for(len(owners) + 1))
                    break
                numbers[version] = number


def _address_lan(place: Place, lans: Iterator[IPv4Network], findings: Findings) -> None:
    path = (*place.path, "lan")
    if findings.has(path) or findings.doubts(path):
        return
    match place.copy.spec.lan:
        case None:
            lan = next(lans, None)
        case IPv4Network() as lan:
            pass
        case _:
            return
    if lan is None:
        findings.add(path, "there is no private /24 left for this site's LAN", "state one")
        return
    place.lan = lan
    pools = {4: Pool(lan, "the LAN")}
    place.inside = {4: pools[4].take_next(place.name) or 0}
    for stand in place.stands:
        _claim_hosts(pools, place, stand, findings, shift=0)
    for name, numbers in place.hosts.items():
        if 4 not in numbers:
            number = pools[4].take_next(name)
            if number is None:
                if not findings.has(path):
                    findings.add(path, pools[4].too_small_for(len(place.hosts) + 1))
                return
            numbers[4] = number


def _site(place: Place, internet: tuple[Network, ...]) -> Site:
    """The finished site; every number has been handed out by now."""
    wan = tuple(address(network, place.wan[network.version]) for network in internet)
    if place.lan is None:
        hosts = tuple(
            Host(name, tuple(alone(address(net, numbers[net.version])) for net in internet), wan)
            for name, numbers in place.hosts.items()
        )
        return Site(place.name, place.copy.spec.nat, wan, (), hosts, link_of(place.copy))
    router = IPv4Interface((place.inside[4], place.lan.prefixlen))
    gateway: tuple[Address, ...] = (router.ip,)
    hosts = tuple(Host(name, _on_lan(place.lan, numbers), gateway) for name, numbers in place.hosts.items())
    return Site(place.name, place.copy.spec.nat, wan, (router,), hosts, link_of(place.copy))


def _on_lan(lan: IPv4Network, numbers: Mapping[int, int]) -> tuple[Interface, ...]:
    return (interface(lan, numbers[4]),)
