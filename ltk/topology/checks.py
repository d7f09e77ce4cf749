"""What must hold across a topology file, beyond the form of each value.

Each check notes what it finds at the place where its reader would change something, and stays
silent about values that were refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ltk.topology.copies import NodeCopy
from ltk.topology.expanded import Network, Role, Transport
from ltk.topology.model import SiteSpec, TopologySpec
from ltk.topology.problems import Findings, Path
from ltk.topology.routers import nat_of
from ltk.topology.underlay import MIN_LAN_HOSTS, Place
from ltk.topology.values import endpoint_address, first_overlap, host_range, networks_overlap

MIN_MTU_IPV6 = 1280  # bytes; RFC 8200, section 5
RESERVED_DEVICES = frozenset({"lo", "eth0", "wan", "lan", "all", "default"})  # a lab's own, and the kernel's

_SUBNET: Path = ("network", "subnet")
_INTERNET: Path = ("lab", "internet")


def check_networks(spec: TopologySpec, findings: Findings) -> None:
    """Subnets: one of a family, disjoint where they must be, and with room."""
    if not findings.doubts(_SUBNET):
        _check_families(spec.network.subnet, _SUBNET, findings)
    tunnel = _tunnel(spec, findings)
    if any(network.version == 6 for network in tunnel) and spec.network.mtu < MIN_MTU_IPV6:
        problem = f"should be at least {MIN_MTU_IPV6} with an IPv6 subnet, is {spec.network.mtu}"
        findings.add(("network", "mtu"), problem)
    if spec.lab is None:
        return
    internet = () if findings.doubts(_INTERNET) else spec.lab.internet
    _check_families(internet, _INTERNET, findings)
    for index, network in enumerate(internet):
        if other := first_overlap(network, tunnel):
            findings.add((*_INTERNET, index), f"{network} overlaps the tunnel's own subnet {other}")
    for name, site in spec.lab.sites.items():
        _check_lan(name, site, tunnel, internet, findings)


def _tunnel(spec: TopologySpec, findings: Findings) -> tuple[Network, ...]:
    """The tunnel's subnets, where they are sound enough to compare others with."""
    return () if findings.doubts(_SUBNET) or findings.has(_SUBNET) else spec.network.subnet


def _check_families(networks: Sequence[Network], path: Path, findings: Findings) -> None:
    seen: dict[int, Network] = {}
    for index, network in enumerate(networks):
        if network.prefixlen == 0:
            findings.add(
                (*path, index), f"{network} is every address there is", "choose a part, such as 10.0.0.0/24"
            )
        if (first := seen.setdefault(network.version, network)) is not network:
            problem = f"{network} is a second IPv{network.version} subnet, beside {first}"
            findings.add((*path, index), problem, "one for each of IPv4 and IPv6")


def _check_lan(
    name: str, site: SiteSpec, tunnel: Sequence[Network], internet: Sequence[Network], findings: Findings
) -> None:
    lan, path = site.lan, ("lab", "sites", name, "lan")
    if lan is None:
        return
    if not nat_of(site).translates:
        if not findings.doubts((*path[:-1], "nat")):
            problem = "a site without NAT has no LAN: its hosts have public addresses"
            findings.add(path, problem, "leave lan out, or say nat: port-restricted")
    elif lan.version != 4:
        findings.add(path, f"should be an IPv4 subnet, is {lan}", "behind a NAT there is IPv4 only")
    elif (usable := host_range(lan)).stop - usable.start < MIN_LAN_HOSTS:
        findings.add(path, f"{lan} has no room for a router and a host", "a /30 or larger")
    elif other := first_overlap(lan, tunnel):
        findings.add(
            path, f"{lan} overlaps the tunnel's own subnet {other}", "choose another LAN or another subnet"
        )
    elif other := first_overlap(lan, internet):
        findings.add(path, f"{lan} overlaps the internet {other}")


def check_nodes(
    spec: TopologySpec, nodes: Sequence[NodeCopy], findings: Findings, here: str | None = None
) -> None:
    """Nodes: one server, found by all; keys and endpoints that are nobody else's.

    This machine's own key, where it is the node `here`, need not stand in the file. Where there is no such
    node, that is to be said first, and not what a file of real hosts lacks.
    """
    _check_one_server(nodes, findings)
    in_a_lab = spec.lab is not None or findings.doubts(("lab",))
    is_a_node = here is None or any(copy.name == here for copy in nodes)
    _check_unique(nodes, "public_key", findings)
    for copy in _one_of_each(nodes):
        _check_node(spec, copy, findings)
        if not in_a_lab and is_a_node:
            _check_real_host(spec, copy, findings, here)
    if not in_a_lab:
        _check_unique(nodes, "endpoint", findings)


def _check_one_server(nodes: Sequence[NodeCopy], findings: Findings) -> None:
    servers = [copy for copy in nodes if copy.spec.role is Role.SERVER]
    in_doubt = findings.doubts(("nodes",)) or any(
        path[0] == "defaults" or (path[0] == "nodes" and (len(path) == 2 or path[-1] == "role"))
        for path in findings.doubtful
        if path
    )
    tunnels = not nodes or any(copy.spec.role is not Role.HOST for copy in nodes)
    if not servers and tunnels and not in_doubt:
        findings.add(("nodes",), "there is no server", "give one node role: server")
    for copy in servers[1:]:
        path = (*copy.path, "role") if "role" in copy.spec.model_fields_set else copy.path
        if not findings.has(path):
            findings.add(
                path, f"{copy.name} is a second server, beside {servers[0].name}", "exactly one node is"
            )


def _check_node(spec: TopologySpec, copy: NodeCopy, findings: Findings) -> None:
    node, path = copy.spec, copy.path
    if node.role is Role.SERVER and node.listen == 0:
        findings.add(
            (*path, "listen"), "should be a fixed port for the server", "0 is any port, and nobody knew which"
        )
    if node.isolation and node.role is not Role.SERVER and not findings.doubts((*path, "role")):
        findings.add((*path, "isolation"), f"is for the server, not for a {node.role}")
    if node.role is Role.WIREGUARD and spec.nodes[str(path[-1])].metrics is not None:
        findings.add(
            (*path, "metrics"), "a stock WireGuard peer has no daemon that could serve them", "leave it out"
        )
    if problem := _transport_problem(spec, copy):
        findings.add((*path, "transport"), *problem)
    if node.device in RESERVED_DEVICES:
        findings.add(
            (*path, "device"), f"{node.device} is another device's name", "choose another, such as wg0"
        )
    if copy.counted and node.count != 1:
        for key in ("routes", "endpoint", "ssh", "public_key", "private_key"):
            if getattr(node, key):
                findings.add(
                    (*path, key), "the copies of a counted node cannot share this", "leave it or count out"
                )


def _transport_problem(spec: TopologySpec, copy: NodeCopy) -> tuple[str, str] | None:
    role, own = copy.spec.role, spec.nodes[str(copy.path[-1])].transport
    if role is Role.WIREGUARD and own is Transport.TCP:
        return "stock WireGuard speaks UDP only", "leave it out"
    general = spec.defaults.node.transport or spec.network.transport
    server = next((each for each in spec.nodes.values() if each.role is Role.SERVER), None)
    is_deaf = server is not None and (server.transport or general) is Transport.UDP
    if role is Role.CLIENT and (own or general) is Transport.TCP and is_deaf:
        return "the server does not listen on TCP", "transport: auto at the server, or leave this out"
    return None


def _check_real_host(spec: TopologySpec, copy: NodeCopy, findings: Findings, here: str | None) -> None:
    """Without a lab, what the others must know about a node can only come from the file."""
    node, path = copy.spec, copy.path
    if node.role is Role.HOST:
        return
    if node.role is Role.SERVER and node.endpoint is None and not findings.doubts((*path, "endpoint")):
        findings.add(
            path, "nobody can reach a server that has no endpoint", "endpoint: HOST:PORT, or add a lab"
        )
    follows = spec.network.secret is not None and node.role is not Role.WIREGUARD
    if node.public_key is not None or copy.name == here or copy.counted or follows:
        return
    if not findings.doubts((*path, "public_key")):
        there = f"public_key: …; on that machine, `ltk keygen --for {spec.name}/{copy.name}` prints it"
        if node.role is Role.WIREGUARD:
            there = "public_key: …; on that machine, `wg pubkey` makes it of the private one"
        findings.add(path, "the others cannot know its key", there)


def _check_unique(nodes: Iterable[NodeCopy], key: str, findings: Findings) -> None:
    owners: dict[str, str] = {}
    for copy in _one_of_each(nodes):
        value = getattr(copy.spec, key)
        if value is not None and (owner := owners.setdefault(value, copy.name)) != copy.name:
            findings.add((*copy.path, key), f"is the same as that of {owner}", "every node has its own")


def check_routes(
    spec: TopologySpec, nodes: Sequence[NodeCopy], places: Sequence[Place], findings: Findings
) -> None:
    """Routes: nobody else's, and none that leads the tunnel's own packets into the tunnel."""
    tunnel = _tunnel(spec, findings)
    _check_endpoints_outside(tunnel, nodes, findings)
    seen: list[tuple[Network, str]] = []
    for copy in _one_of_each(nodes):
        for index, route in enumerate(copy.spec.routes):
            if problem := _route_problem(route, copy, spec, tunnel, nodes, places, seen):
                findings.add((*copy.path, "routes", index), *problem)
            seen.append((route, copy.name))


def _route_problem(
    route: Network,
    copy: NodeCopy,
    spec: TopologySpec,
    tunnel: Sequence[Network],
    nodes: Sequence[NodeCopy],
    places: Sequence[Place],
    seen: Sequence[tuple[Network, str]],
) -> tuple[str, str] | None:
    cut = "would cut off the underlay: the tunnel's own packets would go into the tunnel"
    if route.prefixlen == 0:
        return _exit_problem(route, copy, nodes)
    if other := first_overlap(route, tunnel):
        return (
            f"{route} overlaps the tunnel's own subnet {other}",
            "those addresses are reached without a route",
        )
    for earlier, owner in seen:
        if earlier.prefixlen > 0 and networks_overlap(route, earlier):
            return f"{route} overlaps {earlier}, which is behind {owner}", "a subnet is behind one node"
    if spec.lab is None:
        for other_copy in nodes:
            endpoint = other_copy.spec.endpoint
            if endpoint is not None and (found := endpoint_address(endpoint)) and found in route:
                return f"{route} covers the endpoint {endpoint} of {other_copy.name}, and {cut}", ""
        return None
    if other := first_overlap(route, spec.lab.internet):
        return f"{route} overlaps the internet {other}, and {cut}", "see lab.internet"
    for place in places:
        others = [name for name in place.hosts if name != copy.name]
        if place.lan is not None and others and networks_overlap(route, place.lan):
            return (
                f"{route} overlaps {place.lan}, the LAN of {others[0]}, and {cut}",
                "choose another LAN or route",
            )
    return None


def _exit_problem(route: Network, copy: NodeCopy, nodes: Sequence[NodeCopy]) -> tuple[str, str] | None:
    """One node at most has everything of a family behind it; and the server is reached without it."""
    if copy.spec.role is Role.WIREGUARD:
        return f"{route} is everywhere, and a stock peer is no way there", "name a node of ltk's"
    first = next(each for each in _one_of_each(nodes) if route in each.spec.routes)
    if first.name != copy.name:
        return f"{route} is everywhere, which is behind {first.name} already", "there is one way out"
    apart = any(each.spec.isolation and each.spec.role is Role.SERVER for each in nodes)
    if apart and copy.spec.role is Role.CLIENT:
        return f"{route} is everywhere, and the server keeps its clients apart", "make it the server"
    return None


def _check_endpoints_outside(
    tunnel: Sequence[Network], nodes: Sequence[NodeCopy], findings: Findings
) -> None:
    for copy in _one_of_each(nodes):
        found = endpoint_address(copy.spec.endpoint) if copy.spec.endpoint else None
        if found is not None and (inside := next((net for net in tunnel if found in net), None)):
            problem = (
                f"{found} is inside the tunnel's own subnet {inside}, where nobody finds it from outside"
            )
            findings.add((*copy.path, "endpoint"), problem)


def _one_of_each(nodes: Iterable[NodeCopy]) -> list[NodeCopy]:
    """One copy for each node of the file: what all copies share is reported once."""
    return [copy for copy in nodes if copy.index == 0]
