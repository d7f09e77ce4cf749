"""The expanded topology as resources: what must be there when it is up."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from ltk.kernel import paths
from ltk.lab import sites
from ltk.node import config as node_config
from ltk.protocol.config import P2p, PathPolicy
from ltk.reconcile.resources import (
    Address,
    Daemon,
    Network,
    Resource,
    Route,
    Setting,
    State,
    Tun,
    scope_of,
    state_of,
)
from ltk.reconcile.secrets import Keyring, psk_file
from ltk.topology.expanded import Lab, Node, Role, Topology


def desired(topology: Topology, lab: Lab, keys: Keyring) -> State:
    """Everything that `topology` wants on this machine, its lab and its tunnels."""
    found = sites.resources(topology.name, lab)
    found += keys.secrets
    for node in topology.nodes:
        if node.role is not Role.WIREGUARD:
            found += _tunnel(topology, node, keys)
    return state_of(found)


def _tunnel(topology: Topology, node: Node, keys: Keyring) -> Iterator[Resource]:
    scope = scope_of(topology.name, node.name)
    yield Tun(scope, node.device, node.mtu)
    for address in node.addresses:
        yield Address(scope, node.device, address)
    for other in topology.nodes:
        if other is not node:
            for network in other.routes:
                yield Route(scope, network, node.device)
    if node.routes:
        yield Setting(scope, "net.ipv4.ip_forward", "1")
        yield Setting(scope, "net.ipv6.conf.all.forwarding", "1")
    config = daemon_config(topology, node, keys)
    psk_ids = {peer.name: keys.psk_id for peer in config.peers}
    yield Daemon(scope, node.name, config.to_json(), keys.public[node.name], psk_ids)


def daemon_config(topology: Topology, node: Node, keys: Keyring) -> node_config.DaemonConfig:
    """What the daemon of `node` is told: the server knows everybody, clients know it and each other.

    Stock WireGuard peers know nobody but the server, and where that keeps its clients apart, so do those.
    """
    peers = [other for other in topology.nodes if other is not node]
    if node.role is Role.CLIENT:
        known = (Role.SERVER,) if topology.server.isolation else (Role.SERVER, Role.CLIENT)
        peers = [other for other in peers if other.role in known]
    return node_config.DaemonConfig(
        topology=topology.name,
        node=node.name,
        role=node_config.Role(node.role.value),
        device=node.device,
        mtu=node.mtu,
        listen=node.listen,
        isolation=node.isolation,
        private_key_file=paths.key_file(topology.name, node.name),
        addresses=node.addresses,
        control=paths.control_socket(topology.name, node.name),
        metrics=node.metrics,
        peers=tuple(_peer(topology, node, other, keys) for other in peers),
    )


def _peer(topology: Topology, node: Node, other: Node, keys: Keyring) -> node_config.PeerSettings:
    between_clients = node.role is other.role is Role.CLIENT
    pair = topology.pair(node, other)
    return node_config.PeerSettings(
        name=other.name,
        role=node_config.Role(other.role.value),
        public_key=keys.public[other.name],
        preshared_key_file=psk_file(topology.name) if keys.psk_id else None,
        endpoint=other.endpoint,
        allowed_ips=_reachable_through(topology, node, other),
        # What keeps a path between clients alive are probes, once there is one.
        keepalive=0 if between_clients else node.keepalive,
        p2p=P2p(pair.p2p.value) if between_clients else P2p.ON_DEMAND,
        path=PathPolicy(pair.path.value),
    )


def _reachable_through(topology: Topology, node: Node, other: Node) -> tuple[Network, ...]:
    """The tunnel addresses that may come from `other` and are sent to it.

    Through the server a client reaches the whole network and all that lies behind the others.
    """
    if other.role is Role.SERVER:
        behind = [network for each in topology.nodes if each is not node for network in each.routes]
        return (*topology.subnets, *behind)
    alone: list[Network] = [ip_network(address.ip) for address in other.addresses]
    return (*alone, *other.routes)
