"""The simulated world, with one shared secret: clients know the server, and nobody anybody else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import IPv4Network
from typing import Any

from sim import Node, Simulation
from sim_net import NatKind, Segment

from ltk.protocol.config import PeerConfig, PeerKind, TransportMode
from ltk.protocol.directory import Directory, SubnetDirectory
from ltk.protocol.engine import EngineConfig
from ltk.protocol.primitives import public_key_of
from ltk.protocol.shared_secret import SharedSecret

SUBNET = IPv4Network("10.0.0.0/24")  # the first of the world's addresses; the server's is in it
SECRET = b"correct horse battery staple"


@cache
def network_of(secret: bytes) -> SharedSecret:
    """The keys of a network; made once, since that is slow on purpose."""
    return SharedSecret(secret, SUBNET)


class SecretSimulation(Simulation):
    """Nodes are named by their tunnel addresses, as their peers name them; the server has its own name."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed)
        self.secrets: dict[str, bytes] = {}  # by node, where it is another one
        self._give_keys(self.server)

    def join(self, nat: NatKind | Segment | None = None, secret: bytes = SECRET, **options: Any) -> Node:
        """A new client, which holds this secret."""
        name = str(SUBNET[len(self.clients) + 1])
        node = self.client(name, nat, **options)
        self.secrets[name] = secret
        self._give_keys(node)
        return node

    def _give_keys(self, node: Node) -> None:
        private = network_of(self.secrets.get(node.name, SECRET)).private_key(node.tunnel_address)
        node.__dict__["keys"] = private, public_key_of(private)

    def config_of(self, node: Node) -> EngineConfig:
        """What `ltk serve` and `ltk join` tell their engines."""
        config = super().config_of(node)
        if node is self.server:
            return replace(config, peers=())
        network = network_of(self.secrets[node.name])
        server = replace(
            self.server_as_peer(node),
            public_key=public_key_of(network.private_key(self.server.tunnel_address)),
            preshared_key=network.preshared_key,
            allowed_ips=(SUBNET,),
            transport=TransportMode.UDP,
        )
        return replace(config, peers=(server,))

    def directory_of(self, node: Node) -> Directory:
        """Everybody of the subnet but the node itself, and the server."""
        network = network_of(self.secrets.get(node.name, SECRET))
        like = PeerConfig("", b"", kind=PeerKind.CLIENT, p2p=node.p2p)
        return SubnetDirectory(network, like, but={node.tunnel_address, self.server.tunnel_address})
