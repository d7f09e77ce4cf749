"""The topology with nothing left implicit: what every other part of ltk works from.

Each value here was either written in the file or follows from it by a rule of the reference
(docs/topology.md); nobody who reads these has to know a default. All of it is immutable and
compares by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Literal, TypeAlias

from ltk.topology.expected import Check, Program
from ltk.topology.nats import OPEN, Ipv6, Nat

Address: TypeAlias = IPv4Address | IPv6Address
Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network


class Role(StrEnum):
    """What a node is to the others."""

    SERVER = "server"
    CLIENT = "client"
    WIREGUARD = "wireguard"
    HOST = "host"  # a place in a lab, with underlay addresses and without a tunnel


class P2p(StrEnum):
    """When a client looks for direct paths to other clients."""

    ON_DEMAND = "on-demand"
    EAGER = "eager"
    OFF = "off"


def p2p_of(one: P2p, other: P2p) -> P2p:
    """What holds for two clients that say this much: off where either does, else eager where either does."""
    return next(wish for wish in (P2p.OFF, P2p.EAGER, P2p.ON_DEMAND) if wish in (one, other))


class HardNat(StrEnum):
    """What two clients do where a NAT chooses a port for each destination; each includes the one before."""

    OFF = "off"
    PREDICT = "predict"
    BIRTHDAY = "birthday"


def hard_nat_of(one: HardNat, other: HardNat) -> HardNat:
    """What holds for two clients that say this much: the least of both."""
    return min(one, other, key=list(HardNat).index)


class Transport(StrEnum):
    """How a client reaches the server; at the server, whether that listens on TCP as well: not with udp."""

    AUTO = "auto"
    UDP = "udp"
    TCP = "tcp"


class PathPolicy(StrEnum):
    """Which ways the data of two clients may take; anything but auto is for debugging."""

    AUTO = "auto"
    RELAY_ONLY = "relay-only"
    DIRECT_ONLY = "direct-only"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret comes from; never the secret itself.

    `value` is an absolute path for "file", a variable's name for "env" and a shell command for "command".
    """

    kind: Literal["file", "env", "command"]
    value: str


@dataclass(frozen=True, slots=True)
class Node:
    """One end of tunnels: a daemon of ltk's, or a stock WireGuard peer that somebody else runs.

    Or a host of a lab, which has no tunnel, no addresses in it, no device and no key.
    """

    name: str
    role: Role
    addresses: tuple[Interface, ...]  # tunnel addresses, one per subnet in the subnets' order
    routes: tuple[Network, ...]  # subnets behind this node
    listen: int  # UDP port; 0: any
    endpoint: str | None  # "host:port" or "[v6]:port", where others reach it
    keepalive: int  # seconds; 0: none
    isolation: bool
    p2p: P2p  # between clients, as the next
    hard_nat: HardNat
    metrics: str | None  # "address:port" or "[v6]:port", where its daemon serves them; None: nowhere
    device: str
    mtu: int  # bytes of an inner packet
    public_key: str | None  # base64
    private_key: SecretSource | None
    run: Program | None = None  # what is kept running in it
    masquerade: bool = False  # what goes on to its routes bears its own address
    ssh: str | None = None  # "[user@]host[:port]", where the machine is reached
    transport: Transport = Transport.AUTO

    @property
    def is_exit(self) -> bool:
        """Whether everything is behind it, at least of one family: the others' way to the internet."""
        return any(route.prefixlen == 0 for route in self.routes)


@dataclass(frozen=True, slots=True)
class Pair:
    """What holds between two clients, in both directions."""

    between: tuple[str, str]
    p2p: P2p
    hard_nat: HardNat
    path: PathPolicy


@dataclass(frozen=True, slots=True)
class Host:
    """A node's place in a lab: its underlay addresses and the way out."""

    node: str
    addresses: tuple[Interface, ...]  # one per address family; behind a NAT, that of its LAN first
    gateways: tuple[Address, ...]  # one per address family, in the order of `addresses`
    link: Link | None = None  # of its cable to the router; None: a plain cable


@dataclass(frozen=True, slots=True)
class Link:
    """What a cable does to packets, to those of each direction alike."""

    delay: int  # microseconds, one way
    jitter: int  # microseconds by which the delay varies, up and down; at most `delay`
    loss: int  # packets of a million that are lost
    seed: int  # of what is random about it, so that a run can be repeated
    rate: int = 0  # bits per second; 0: as fast as the machine is
    reorder: int = 0  # packets of a million that do not wait for the delay
    duplicate: int = 0  # packets of a million that arrive twice


@dataclass(frozen=True, slots=True)
class Forward:
    """A public port that leads inside, whoever asks. For a host without NAT both ports are the same."""

    protocol: Literal["udp", "tcp"]
    port: int  # outside
    to: str  # a host of the site, or a site behind it
    inside: int  # the port there


@dataclass(frozen=True, slots=True)
class Site:
    """A router with hosts, and perhaps further sites, behind it.

    `lan` is the router's side; it is empty where nothing is translated. Hosts behind a NAT have an IPv6
    address of the internet as well where `ipv6` lets them.
    """

    name: str
    nat: Nat = OPEN
    wan: tuple[Address, ...] = ()  # one per subnet of the internet; behind a NAT one of its LAN
    lan: tuple[IPv4Interface, ...] = ()
    hosts: tuple[Host, ...] = ()
    link: Link | None = None  # None: a plain cable, without conditions and without the means for any
    behind: str | None = None  # the site whose LAN its router is in; None: it hangs on the internet
    gateways: tuple[Address, ...] = ()  # the next hops, in the order of `wan`
    forward: tuple[Forward, ...] = ()
    one_to_one: str | None = None  # the host or site that gets all that nobody asked for
    ipv6: Ipv6 = Ipv6.NONE  # beside a NAT; without one, `nat` says it of both families


@dataclass(frozen=True, slots=True)
class Lab:
    """The network under the tunnels, to be built out of namespaces."""

    internet: tuple[Network, ...]
    core: tuple[Address, ...]  # the internet's own router, one address per subnet
    sites: tuple[Site, ...]
    faults: tuple[str, ...] = ()  # the words of those that every apply puts in force

    def site(self, name: str) -> Site:
        """The site of that name; KeyError where there is none."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    def site_of(self, node: str) -> Site:
        """The site in which the node stands; KeyError for a name that no site has."""
        for site in self.sites:
            if any(host.node == node for host in site.hosts):
                return site
        raise KeyError(node)

    def host(self, node: str) -> Host:
        """The node's place; KeyError for a name that no site has."""
        for site in self.sites:
            for host in site.hosts:
                if host.node == node:
                    return host
        raise KeyError(node)


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole network. Nodes and sites stand in the file's order."""

    name: str
    subnets: tuple[Network, ...]
    mtu: int
    psk: SecretSource | None
    nodes: tuple[Node, ...]
    pairs: tuple[Pair, ...]  # those of which the file says something of their own
    lab: Lab | None
    checks: tuple[Check, ...] = ()
    here: str | None = None  # on a real host: which of the nodes it is; None: a lab, or no machine at all
    secret: SecretSource | None = None  # from which the keys follow of the nodes that have none

    def node(self, name: str) -> Node:
        """The node of that name; KeyError where there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def pair(self, one: Node, other: Node) -> Pair:
        """What holds between two clients, whether the file names the pair or not."""
        names = {one.name, other.name}
        stated = next((pair for pair in self.pairs if set(pair.between) == names), None)
        p2p, hard_nat = p2p_of(one.p2p, other.p2p), hard_nat_of(one.hard_nat, other.hard_nat)
        return stated or Pair((one.name, other.name), p2p, hard_nat, PathPolicy.AUTO)

    @property
    def server(self) -> Node:
        """The one node with the role of server (expansion has made sure of one where there is a tunnel)."""
        return next(node for node in self.nodes if node.role is Role.SERVER)
