"""A lab's sites and hosts with all their addresses.

The internet's core has the first address of each of its subnets. Then, in the file's order, each
site's router gets one address per subnet, and so does each host of a site without NAT, reached
through that router. Behind a NAT the router has the first address of the LAN and hosts the next, and
so have the routers of sites that stand in it; where there is IPv6 beside the NAT, hosts have one of
the internet's as well.
Whatever the file states is taken first; only then are free addresses handed out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from ltk.topology.addresses import Pool, address, alone, claim, free_lans, interface
from ltk.topology.copies import NodeCopy, SiteCopy
from ltk.topology.expanded import Address, Forward, Host, Lab, Network, Role, Site
from ltk.topology.links import link_of
from ltk.topology.model import DEFAULT_SERVER_PORT, HostSpec, LabSpec
from ltk.topology.nats import Ipv6, Nat, NatPreset
from ltk.topology.problems import Findings, Path
from ltk.topology.routers import forwards_of, inside_name, nat_of, parents_of
from ltk.topology.values import host_range, networks_overlap
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
    nat: Nat
    behind: Place | None = None
    forward: tuple[Forward, ...] = ()
    one_to_one: str | None = None
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
        return self.nat.translates

    @property
    def ipv6(self) -> Ipv6:
        return self.copy.spec.ipv6 or Ipv6.NONE

    def is_routed(self, version: int) -> bool:
        """Whether its hosts have addresses of the internet of that IP version."""
        return not self.has_nat or (version == 6 and self.ipv6 is not Ipv6.NONE)

    @property
    def is_public(self) -> bool:
        """Whether its router has addresses of the internet."""
        return self.behind is None or not self.behind.has_nat


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
                where.setdefault(name, site.name)
            if names:
                stands.append(Stand(names, spec, path))
        places.append(Place(site, stands, nat_of(site.spec)))
    _settle_sites(places, sites, findings)
    for name, copy in by_name.items():
        if copy.spec.role is Role.SERVER and name in where:
            _check_reachable(name, copy, next(each for each in places if each.name == where[name]), findings)
    if not any(path[:1] == ("lab",) for path in findings.doubtful) and not findings.has(_SITES):
        for copy in by_name.values():
            in_doubt = findings.has(copy.path) or findings.doubts((*copy.path, "count"))
            if copy.name not in where and not in_doubt:
                findings.add(copy.path, "stands in no site of the lab", "add it to the hosts of one")
    return places


def _settle_sites(places: list[Place], sites: Mapping[str, tuple[SiteCopy, ...]], findings: Findings) -> None:
    """Which sites stand behind which, and what their routers let in."""
    by_name = {place.name: place for place in places}
    for child, parent in parents_of(sites, findings).items():
        place, path = by_name[child], (*by_name[child].path, "behind")
        if place.has_nat:
            place.behind = by_name[parent]
        elif not findings.doubts((*place.path, "nat")):
            problem = f"a site behind {parent} translates: nobody would know the way to its hosts"
            findings.add(path, problem, "say nat: port-restricted, or leave behind out")
    for place in places:
        inside = [name for stand in place.stands for name in stand.names]
        inside += [each.name for each in places if each.behind is place]
        place.forward = forwards_of(place.copy, inside, findings)
        word, path = place.copy.spec.one_to_one, (*place.path, "one_to_one")
        if word is None or findings.doubts((*place.path, "nat")):
            continue
        if not place.has_nat:
            findings.add(path, "is for a site with a NAT", "without one every address is public already")
        elif inside_name(word, path, inside, findings):
            place.one_to_one = word


def _check_reachable(name: str, copy: NodeCopy, place: Place, findings: Findings) -> None:
    """Notes a server to which nothing leads: on the way a router filters, and none of its ports leads on."""
    port = DEFAULT_SERVER_PORT if copy.spec.listen is None else copy.spec.listen
    who, here = name, place
    while True:
        if not here.nat.is_open and here.one_to_one != who:
            wanted = ("udp", who, port)
            ways = (each.port for each in here.forward if (each.protocol, each.to, each.inside) == wanted)
            way = next(ways, None)
            if way is None:
                path = next(stand.path for stand in place.stands if name in stand.names)
                problem = f"nobody can reach the server {name} behind the {_what(here)} of {here.name}"
                remedy = f"put it into a site without nat, or let its port in: forward: {{udp/{port}: {who}}}"
                in_doubt = any(findings.has((*here.path, key)) for key in ("forward", "one_to_one"))
                if not in_doubt and not findings.doubts((*here.path, "nat")):
                    findings.add(path, problem, remedy)
                return
            port = way
        if here.behind is None:
            return
        who, here = here.name, here.behind


def _what(place: Place) -> str:
    kind = place.copy.spec.nat
    if not place.has_nat:
        return "firewall"
    return f"{kind} NAT" if isinstance(kind, NatPreset) else "NAT"


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
    for place in sorted(places, key=_depth):  # a router that stands in a LAN has its address from there
        if place.has_nat:
            _address_lan(place, [each for each in places if each.behind is place], lans, findings)
    if findings.found:
        return None
    core = tuple(address(network, host_range(network).start) for network in spec.internet)
    return Lab(spec.internet, core, tuple(_site(place, spec.internet, core) for place in places))


def _depth(place: Place) -> int:
    return 0 if place.behind is None else 1 + _depth(place.behind)


def _claim_stated(pools: Mapping[int, Pool], places: list[Place], findings: Findings) -> None:
    for place in places:
        shift = place.copy.index
        if place.is_public:
            _claim_wan(pools, place, findings)
        if place.is_routed(6):  # those of its LAN, if it has one, follow with that
            for stand in place.stands:
                _claim_hosts(pools, place, stand, findings, shift, 4 if place.has_nat else None)


def _claim_wan(pools: Mapping[int, Pool], place: Place, findings: Findings) -> None:
    path, stated = (*place.path, "wan"), place.copy.spec.wan or ()
    place.wan = claim(pools, stated, (place.name,), path, findings, place.copy.index)


def _claim_hosts(
    pools: Mapping[int, Pool],
    place: Place,
    stand: Stand,
    findings: Findings,
    shift: int,
    elsewhere: int | None,
) -> None:
    path = (*stand.path, "address")
    first = claim(pools, stand.spec.address or (), stand.names, path, findings, shift, elsewhere)
    for index, name in enumerate(stand.names):
        claimed = {version: number + index for version, number in first.items()}
        place.hosts.setdefault(name, {}).update(claimed)


def _hand_out_public(pools: Mapping[int, Pool], places: list[Place], findings: Findings) -> None:
    """One address per family for every router and every host without NAT that has none yet."""
    for version, pool in pools.items():
        owners = [
            owner
            for place in places
            for owner in (
                *([(place.name, place.wan)] if place.is_public else ()),
                *(place.hosts.items() if place.is_routed(version) else ()),
            )
        ]
        for name, numbers in owners:
            if version not in numbers:
                number = pool.take_next(name)
                if number is None:
                    findings.add(("lab", "internet"), pool.too_small_for(len(owners) + 1))
                    break
                numbers[version] = number


def _address_lan(place: Place, routers: list[Place], lans: Iterator[IPv4Network], findings: Findings) -> None:
    """Give the LAN to the site's router, its hosts, and the `routers` of the sites behind it."""
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
    outer = place.behind
    while outer is not None:
        if outer.lan is not None and networks_overlap(lan, outer.lan):
            problem = f"{lan} overlaps {outer.lan}, the LAN of {outer.name}, which this site is behind"
            findings.add(path, problem, "its router could not tell its two sides apart")
            return
        outer = outer.behind
    place.lan = lan
    pools = {4: Pool(lan, "the LAN")}
    place.inside = {4: pools[4].take_next(place.name) or 0}
    for stand in place.stands:
        _claim_hosts(pools, place, stand, findings, 0, 6 if place.is_routed(6) else None)
    for router in routers:
        _claim_wan(pools, router, findings)
    for name, numbers in (*place.hosts.items(), *((each.name, each.wan) for each in routers)):
        if 4 not in numbers:
            number = pools[4].take_next(name)
            if number is None:
                if not findings.has(path):
                    findings.add(path, pools[4].too_small_for(len(place.hosts) + len(routers) + 1))
                return
            numbers[4] = number


def _site(place: Place, internet: tuple[Network, ...], core: tuple[Address, ...]) -> Site:
    """The finished site; every number has been handed out by now."""
    parent = place.behind
    if parent is not None and parent.lan is not None:
        wan: tuple[Address, ...] = (IPv4Address(place.wan[4]),)
        gateways: tuple[Address, ...] = (IPv4Address(parent.inside[4]),)
    else:
        wan = _public_address(place.wan, internet)
        gateways = core if parent is None else _public_address(parent.wan, internet)
    lan: tuple[IPv4Interface, ...] = ()
    links = {
        name: link_of(stand.spec.link, name, place.copy.index + index)
        for stand in place.stands
        for index, name in enumerate(stand.names)
    }
    hosts: Iterator[Host]
    if place.lan is None:
        public = ((name, _public_address(numbers, internet)) for name, numbers in place.hosts.items())
        hosts = (Host(name, tuple(map(alone, addresses)), wan, links.get(name)) for name, addresses in public)
    else:
        lan = (IPv4Interface((place.inside[4], place.lan.prefixlen)),)
        outside = [network for network in internet if place.is_routed(network.version)]
        gateway: tuple[Address, ...] = (lan[0].ip, *(each for each in wan if place.is_routed(each.version)))
        hosts = (
            Host(name, (inside, *map(alone, _public_address(numbers, outside))), gateway, links.get(name))
            for name, numbers in place.hosts.items()
            for inside in (interface(place.lan, numbers[4]),)
        )
    return Site(
        name=place.name,
        nat=place.nat,
        wan=wan,
        lan=lan,
        hosts=tuple(hosts),
        link=link_of(place.copy.spec.link, place.name, place.copy.index),
        behind=parent.name if parent is not None else None,
        gateways=gateways,
        forward=place.forward,
        one_to_one=place.one_to_one,
        ipv6=place.ipv6,
    )


def _public_address(numbers: Mapping[int, int], internet: Sequence[Network]) -> tuple[Address, ...]:
    return tuple(address(network, numbers[network.version]) for network in internet)
