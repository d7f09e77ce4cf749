"""What an engine is told: its own identity, and the peers it may talk to."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ltk.protocol.messages import Endpoint

IPNetwork = IPv4Network | IPv6Network
IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One peer. The public key is its identity; the name is for people.

    `keepalive` is WireGuard's persistent keepalive in seconds, 0 for none. Where it is positive
    and the endpoint is known, a handshake starts as soon as the peer is configured.
    """

    name: str
    public_key: bytes
    preshared_key: bytes = field(default=bytes(32), repr=False)
    endpoint: Endpoint | None = None
    allowed_ips: tuple[IPNetwork, ...] = ()
    keepalive: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """All that an engine is told.

    `mtu` is the tunnel's MTU in bytes; padding never exceeds it. With `forward`, a packet from one
    peer for another peer's addresses is sealed for that peer at once, unless `isolation` forbids
    it. `addresses` are the node's own tunnel addresses: packets for them always go to the TUN.
    """

    private_key: bytes = field(repr=False)
    mtu: int
    forward: bool
    isolation: bool
    addresses: tuple[IPAddress, ...]
    peers: tuple[PeerConfig, ...]
