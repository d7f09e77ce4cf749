"""The topology with nothing left implicit: defaults, numbered copies, allocated addresses.

Every rule here is told to users in docs/topology.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path as FilePath

from ltk.topology.addresses import Pool, claim, interface
from ltk.topology.checks import check_networks, check_nodes, check_routes
from ltk.topology.copies import NodeCopy, check_names_differ, copies_of, with_defaults
from ltk.topology.expanded import HardNat, Interface, Lab, Node, P2p, Role, SecretSource, Topology
from ltk.topology.expect import check_claims, check_in_lab, claims_of, program_of
from ltk.topology.hosts import check_hosts
from ltk.topology.links import check_links
from ltk.topology.model import DEFAULT_SERVER_PORT, NodeSpec, SecretSpec, TopologySpec, p2p_in
from ltk.topology.pairs import check_pairs, pairs_of
from ltk.topology.problems import Findings
from ltk.topology.real import without_lab
from ltk.topology.render import render
from ltk.topology.routers import check_ipv6, check_nat
from ltk.topology.stated_faults import with_stated_faults
from ltk.topology.underlay import Place, address_lab, settle

__all__ = ["expand", "render"]  # each undoes the other

DEFAULT_CLIENT_KEEPALIVE = (
    20  # seconds; a NAT may forget a UDP flow after 30 (RFC 4787, REQ-5, and less in practice)
)
LAB_DEVICE = "ltk0"
REAL_DEVICE_PREFIX = "ltk-"
REAL_DEVICE_NAME = 11  # characters of the topology's name; with the prefix, IFNAMSIZ - 1


def expand(
    spec: TopologySpec, folder: FilePath, findings: Findings, here: str | None = None
) -> Topology | None:
    """Make everything explicit; None where anything was found, which is then in `findings`.

    On a real host `here` is the node that it is, and the lab does not count. `folder` is what relative
    paths are relative to. `findings.doubtful` names the parts of `spec`
    that stand in for what was refused: nothing is concluded from those.
    """
    spec = spec if here is None else without_lab(spec)
    nodes = copies_of(("nodes",), with_defaults(spec.nodes, spec.defaults.node), findings)
    sites = copies_of(("lab", "sites"), spec.lab.sites if spec.lab else {}, findings)
    everyone = tuple(itertools.chain.from_iterable(nodes.values()))
    check_names_differ(everyone, itertools.chain.from_iterable(sites.values()), findings)
    check_networks(spec, findings)
    check_links(itertools.chain.from_iterable(sites.values()), findings)
    for copies in sites.values():
        check_nat(copies[0], findings)
        if spec.lab is not None and not findings.doubts(("lab", "internet")):
            check_ipv6(copies[0], spec.lab.internet, findings)
    check_nodes(spec, everyone, findings, here)
    check_hosts(spec, everyone, findings)
    check_pairs(spec, nodes, findings)
    check_claims(spec, nodes, findings)
    tunnel = _tunnel_addresses(spec, nodes, findings)
    places: list[Place] = []
    lab: Lab | None = None
    if spec.lab is not None:
        places = settle(nodes, sites, findings)
        routes = (route for copy in everyone for route in copy.spec.routes)
        avoid = [network for network in (*spec.network.subnet, *routes) if network.prefixlen > 0]
        lab = address_lab(spec.lab, places, avoid, findings)
    check_routes(spec, everyone, places, findings)
    if findings.found or findings.doubtful:
        return None
    expanded = tuple(_node(spec, copy, tunnel.get(copy.name, ()), lab, folder) for copy in everyone)
    topology = Topology(
        name=spec.name,
        subnets=spec.network.subnet,
        mtu=spec.network.mtu,
        psk=_secret(spec.network.psk, folder),
        nodes=expanded,
        pairs=pairs_of(spec, expanded),
        lab=lab,
        checks=claims_of(spec, folder),
        here=here,
        secret=_secret(spec.network.secret, folder),
    )
    check_in_lab(topology, findings)
    if spec.lab is not None and spec.lab.faults:
        return with_stated_faults(topology, spec.lab.faults, findings)
    return None if findings.found else topology


def _tunnel_addresses(
    spec: TopologySpec, nodes: Mapping[str, tuple[NodeCopy, ...]], findings: Findings
) -> dict[str, tuple[Interface, ...]]:
    """By node, one address per subnet: stated ones first, then the lowest free ones in the file's order."""
    subnet = ("network", "subnet")
    if findings.doubts(subnet) or findings.has(subnet) or findings.has(("network",)):
        return {}
    pools: dict[int, Pool] = {
        network.version: Pool(network, "network.subnet") for network in spec.network.subnet
    }
    numbers: dict[str, dict[int, int]] = {}
    for copies in nodes.values():
        if copies[0].spec.role is Role.HOST:
            continue
        names = [copy.name for copy in copies]
        first = claim(pools, copies[0].spec.address or (), names, (*copies[0].path, "address"), findings)
        for index, name in enumerate(names):
            numbers[name] = {version: number + index for version, number in first.items()}
    for version, pool in pools.items():
        for name, own in numbers.items():
            if version not in own:
                free = pool.take_next(name)
                if free is None:
                    findings.add(subnet, pool.too_small_for(len(numbers)))
                    return {}
                own[version] = free
    if findings.found:
        return {}
    return {
        name: tuple(interface(network, own[network.version]) for network in spec.network.subnet)
        for name, own in numbers.items()
    }


def _node(
    spec: TopologySpec, copy: NodeCopy, addresses: tuple[Interface, ...], lab: Lab | None, folder: FilePath
) -> Node:
    node = copy.spec
    listen = node.listen
    if listen is None:
        listen = DEFAULT_SERVER_PORT if node.role is Role.SERVER else 0
    keepalive = node.keepalive
    if keepalive is None:
        keepalive = DEFAULT_CLIENT_KEEPALIVE if node.role is Role.CLIENT else 0
    wish, general = p2p_in(node.p2p), p2p_in(spec.network.p2p)
    real_device = REAL_DEVICE_PREFIX + spec.name[:REAL_DEVICE_NAME]
    return Node(
        name=copy.name,
        role=node.role,
        addresses=addresses,
        routes=node.routes,
        listen=listen,
        endpoint=_lab_endpoint(lab, copy, listen) if lab is not None else node.endpoint,
        keepalive=keepalive,
        isolation=node.isolation and node.role is Role.SERVER,
        p2p=wish.mode or general.mode or P2p.ON_DEMAND,
        hard_nat=wish.hard_nat or general.hard_nat or HardNat.BIRTHDAY,
        metrics=node.metrics if node.role is not Role.WIREGUARD else None,
        device=""
        if node.role is Role.HOST
        else node.device or (LAB_DEVICE if lab is not None else real_device),
        mtu=spec.network.mtu,
        public_key=node.public_key,
        private_key=_secret(node.private_key, folder),
        run=program_of(node.run, folder),
        masquerade=_masquerades(node),
        ssh=node.ssh,
        transport=node.transport or spec.network.transport,
    )


def _masquerades(node: NodeSpec) -> bool:
    """Unless the file says so: who leads to everywhere, since nobody out there knows the way back."""
    if node.masquerade is None or not node.routes:
        return any(route.prefixlen == 0 for route in node.routes)
    return node.masquerade


def _lab_endpoint(lab: Lab, copy: NodeCopy, listen: int) -> str | None:
    """Where clients find the server: its first address that every site's hosts can reach.

    Behind a NAT there is IPv4 only; without any NAT the internet's first subnet decides. A server behind
    a NAT is at the outermost router, at the port that leads to it (`settle` has made sure of one).
    """
    if copy.spec.role is not Role.SERVER:
        return None
    addresses = [own.ip for own in lab.host(copy.name).addresses]
    inside, site, port = copy.name, lab.site_of(copy.name), listen
    while True:
        if site.nat.translates:
            addresses = list(site.wan)
            if site.one_to_one != inside:
                wanted = ("udp", inside, port)
                port = next(e.port for e in site.forward if (e.protocol, e.to, e.inside) == wanted)
        if site.behind is None:
            break
        inside, site = site.name, lab.site(site.behind)
    if any(each.lan for each in lab.sites):
        addresses = [each for each in addresses if each.version == 4]
    return f"[{addresses[0]}]:{port}" if addresses[0].version == 6 else f"{addresses[0]}:{port}"


def _secret(spec: SecretSpec | None, folder: FilePath) -> SecretSource | None:
    if spec is None:
        return None
    source = spec.source
    if source.kind != "file":
        return source
    return SecretSource("file", str(folder / source.value))
