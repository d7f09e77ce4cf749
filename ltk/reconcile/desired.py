"""The expanded topology as resources: what must be there when it is up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from ltk.kernel import paths
from ltk.lab import sites
from ltk.node import config as node_config
from ltk.protocol.config import HardNat, P2p, PathPolicy, TransportMode
from ltk.protocol.segments import largest_super_packet
from ltk.reconcile import exits
from ltk.reconcile.resources import (
    HERE,
    Address,
    Daemon,
    Network,
    Program,
    Resource,
    State,
    Tun,
    scope_of,
    state_of,
)
from ltk.reconcile.secrets import Keyring, psk_file
from ltk.topology.expanded import Lab, Node, Pair, Role, Topology, Transport


def desired(topology: Topology, lab: Lab, keys: Keyring) -> State:
    """Everything that `topology` wants on this machine, its lab and its tunnels."""
    found = sites.resources(topology.name, lab)
    found += keys.secrets
    behind = _behind(topology)
    configs = _Configs(topology, keys, behind)
    for node in topology.nodes:
        if node.role not in (Role.WIREGUARD, Role.HOST):
            found += _tunnel(topology, node, configs, behind)
        if node.run is not None:
            scope = scope_of_node(topology, node)
            found.append(Program(scope, node.name, node.run.command, node.run.folder))
    return state_of(found)


def desired_here(topology: Topology, keys: Keyring) -> State:
    """What `topology` wants of a real host: the one node that it is."""
    assert topology.here is not None, "on a real host"
    behind = _behind(topology)
    configs = _Configs(topology, keys, behind)
    return state_of([*keys.secrets, *_tunnel(topology, topology.node(topology.here), configs, behind)])


def scope_of_node(topology: Topology, node: Node) -> str:
    """Where a node is: in its namespace of a lab, or on this very machine."""
    return scope_of(topology.name, node.name) if topology.here is None else HERE


def _behind(topology: Topology) -> list[tuple[Node, Network]]:
    """The networks behind nodes, each with the node that it is behind."""
    return [(node, network) for node in topology.nodes for network in node.routes]


def _tunnel(
    topology: Topology, node: Node, configs: _Configs, behind: Sequence[tuple[Node, Network]]
) -> Iterator[Resource]:
    scope = scope_of_node(topology, node)
    yield Tun(scope, node.device, node.mtu, super_packet=largest_super_packet(node.mtu))
    for address in node.addresses:
        yield Address(scope, node.device, address)
    yield from exits.routes(topology, node, scope, behind)
    yield from exits.forwarding(node, scope)
    if (ruleset := exits.rules(topology, node, scope, behind)) is not None:
        yield ruleset
    yield configs.daemon(node)


class _Configs:
    """What the daemons are told: the server knows everybody, clients know it and each other.

    Stock WireGuard peers know nobody but the server, and where that keeps its clients apart, so do those.
    A hundred clients are told of ten thousand peers, nearly all of them in the same words: what is said
    of a peer is made once, and shared by all documents that say it.
    """

    def __init__(self, topology: Topology, keys: Keyring, behind: Sequence[tuple[Node, Network]]) -> None:
        self._topology = topology
        self._keys = keys
        self._behind = behind
        self._psk_file = psk_file(topology.name) if keys.psk_id else None
        self._told: dict[tuple[object, ...], dict[str, object]] = {}  # of one client to another
        self._by_wish: dict[object, list[tuple[Node, dict[str, object] | None]]] = {}
        self._in_pairs = {name for pair in topology.pairs for name in pair.between}

    def daemon(self, node: Node) -> Daemon:
        """The daemon of a node that runs one."""
        topology, keys = self._topology, self._keys
        document = node_config.DaemonConfig(
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
            mark=exits.mark(topology, node, self._behind),
            transport=self._transport(node),
            peers=(),
        ).to_json()
        peers = self._peers(node)
        document["peers"] = [told for _, told in peers]
        psk_ids = {other.name: keys.psk_id for other, _ in peers}
        return Daemon(scope_of_node(topology, node), node.name, document, keys.public[node.name], psk_ids)

    def _peers(self, node: Node) -> list[tuple[Node, dict[str, object]]]:
        """Whom the node knows, and what it is told of each.

        Clients of which the file says nothing in particular, and that wish the same, are told the same of
        all others: a hundred lists of a hundred are then one list, each time less the node itself.
        """
        if node.role is not Role.CLIENT or node.name in self._in_pairs:
            return [(other, self._peer(node, other)) for other in self._known(node) if other is not node]
        wish = node.p2p, node.hard_nat
        if wish not in self._by_wish:
            self._by_wish[wish] = [
                (each, self._peer(node, each) if each.role is Role.CLIENT else None)
                for each in self._known(node)
            ]
        alike = self._by_wish[wish]
        return [(other, told or self._peer(node, other)) for other, told in alike if other is not node]

    def _transport(self, node: Node) -> TransportMode:
        """How a node reaches the server, which may not listen on TCP."""
        wishes = (node.transport, self._topology.server.transport)
        return TransportMode.UDP if Transport.UDP in wishes else TransportMode(node.transport.value)

    def _known(self, node: Node) -> list[Node]:
        """All whom a node of its role knows, it among them; the server first.

        Where two have the same network the later one counts, and the server has what lies behind any other.
        """
        nodes = sorted(self._topology.nodes, key=lambda each: each.role is not Role.SERVER)
        if node.role is not Role.CLIENT:
            return [each for each in nodes if each.role is not Role.HOST]
        isolation = self._topology.server.isolation
        roles = (Role.SERVER,) if isolation else (Role.SERVER, Role.CLIENT)
        return [each for each in nodes if each.role in roles]

    def _peer(self, node: Node, other: Node) -> dict[str, object]:
        if not (node.role is other.role is Role.CLIENT):
            return self._settings(node, other, node.keepalive).to_json()
        pair = self._topology.pair(node, other)
        key = other.name, pair.p2p, pair.hard_nat, pair.path
        told = self._told.get(key)
        if told is None:
            # What keeps a path between clients alive are probes, once there is one.
            told = self._told[key] = self._settings(node, other, 0, pair).to_json()
        return told

    def _settings(
        self, node: Node, other: Node, keepalive: int, pair: Pair | None = None
    ) -> node_config.PeerSettings:
        """What a node is told of another one; of two clients, what holds for them as a pair."""
        return node_config.PeerSettings(
            name=other.name,
            role=node_config.Role(other.role.value),
            public_key=self._keys.public[other.name],
            preshared_key_file=self._psk_file,
            endpoint=other.endpoint,
            allowed_ips=self._reachable_through(node, other),
            keepalive=keepalive,
            p2p=P2p.ON_DEMAND if pair is None else P2p(pair.p2p.value),
            hard_nat=HardNat.BIRTHDAY if pair is None else HardNat(pair.hard_nat.value),
            path=PathPolicy.AUTO if pair is None else PathPolicy(pair.path.value),
        )

    def _reachable_through(self, node: Node, other: Node) -> tuple[Network, ...]:
        """The tunnel addresses that may come from `other` and are sent to it.

        Through the server a client reaches the whole network and all that lies behind the others.
        """
        if other.role is Role.SERVER:
            behind = [network for each, network in self._behind if each is not node]
            return (*self._topology.subnets, *behind)
        alone: list[Network] = [ip_network(address.ip) for address in other.addresses]
        return (*alone, *other.routes)
