"""What an engine is told: its own identity, and the peers it may talk to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ltk.protocol.messages import Endpoint

IPNetwork = IPv4Network | IPv6Network
IPAddress = IPv4Address | IPv6Address


class PeerKind(StrEnum):
    """What a peer is to this node."""

    SERVER = "server"  # this node's server: introduces it to others and relays for it
    CLIENT = "client"  # runs ltk; between two clients data is end to end, directly or relayed
    STOCK = "wireguard"  # plain WireGuard: one endpoint, which roams


class P2p(StrEnum):
    """When this node looks for direct paths to another client."""

    ON_DEMAND = "on-demand"  # from the first packet on, and again while there are packets
    EAGER = "eager"  # always
    OFF = "off"  # never: what is sent is relayed


class HardNat(StrEnum):
    """What is done where a NAT maps by destination (see search); each includes the one before."""

    OFF = "off"
    PREDICT = "predict"  # where its ports come in sequence, the next ones are probed
    BIRTHDAY = "birthday"  # many ports of both sides, until two match


class TransportMode(StrEnum):
    """How a client reaches its server (see transport)."""

    AUTO = "auto"  # over UDP, and over TCP where UDP gets no answer
    UDP = "udp"
    TCP = "tcp"


class PathPolicy(StrEnum):
    """Which paths to another client may carry data."""

    AUTO = "auto"
    RELAY_ONLY = "relay-only"
    DIRECT_ONLY = "direct-only"


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One peer. The public key is its identity; the name is for people.

    `keepalive` is WireGuard's persistent keepalive in seconds, 0 for none. Where it is positive
    and the endpoint is known, a handshake starts as soon as the peer is configured. `p2p`, `hard_nat`
    and `path` count between two clients only, `transport` from a client to its server.
    """

    name: str
    public_key: bytes
    preshared_key: bytes = field(default=bytes(32), repr=False)
    endpoint: Endpoint | None = None
    allowed_ips: tuple[IPNetwork, ...] = ()
    keepalive: float = 0.0
    kind: PeerKind = PeerKind.STOCK
    p2p: P2p = P2p.ON_DEMAND
    hard_nat: HardNat = HardNat.BIRTHDAY
    path: PathPolicy = PathPolicy.AUTO
    transport: TransportMode = TransportMode.UDP

    @property
    def may_be_direct(self) -> bool:
        """Whether a direct path is ever looked for."""
        return self.p2p is not P2p.OFF and self.path is not PathPolicy.RELAY_ONLY


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """All that an engine is told.

    `mtu` is the tunnel's MTU in bytes; padding never exceeds it. With `forward` the node is a server:
    a packet from one peer for another peer's addresses is sealed for that peer at once, and clients
    are introduced to each other and relayed, unless `isolation` forbids it. `addresses` are the node's
    own tunnel addresses: packets for them always go to the TUN. `stun_port` is the UDP port of a
    server's second socket, 0 where it has none. With `offloads`, packets go in and out behind virtio headers,
    super-packets among them (see vnet).
    """

    private_key: bytes = field(repr=False)
    mtu: int
    forward: bool
    isolation: bool
    addresses: tuple[IPAddress, ...]
    peers: tuple[PeerConfig, ...]
    stun_port: int = 0
    offloads: bool = False
