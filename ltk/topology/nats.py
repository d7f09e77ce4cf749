"""What a site's router does to the packets of its hosts, in the terms of RFC 4787, and the presets.

A preset is nothing but a name for the same that can be spelled out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_LIFETIME = 120  # seconds; the least that RFC 4787 allows (REQ-5)


class NatMapping(StrEnum):
    """How many public ports a socket gets (RFC 4787, section 4.1); with `none` nothing is translated."""

    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class NatFiltering(StrEnum):
    """Who may send to a public port that is in use (RFC 4787, section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Unsolicited(StrEnum):
    """What becomes of a packet from outside that nobody asked for."""

    DROP = "drop"
    REJECT = "reject"
    ACCEPT = "accept"


class Ports(StrEnum):
    """Which public port a new mapping gets (RFC 4787, section 4.2)."""

    PRESERVE = "preserve"
    RANDOM = "random"
    SEQUENTIAL = "sequential"
    BLOCK_512 = "block-512"


class UdpPolicy(StrEnum):
    """Which UDP may leave the site."""

    ALLOW = "allow"
    BLOCK = "block"
    DNS_ONLY = "dns-only"


class TcpPolicy(StrEnum):
    """Which TCP may leave the site."""

    ALLOW = "allow"
    BLOCK = "block"
    WEB_ONLY = "web-only"


class Ipv6(StrEnum):
    """What a router that translates IPv4 does to IPv6, which it does not translate."""

    NONE = "none"  # there is none behind it
    FIREWALL = "firewall"  # hosts are public, and only answers come in
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Nat:
    """A kind of router. Where nothing is translated, `hairpin` is false and `ports` is preserve."""

    mapping: NatMapping = NatMapping.ENDPOINT_INDEPENDENT
    filtering: NatFiltering = NatFiltering.ADDRESS_AND_PORT_DEPENDENT
    hairpin: bool = False  # whether hosts of one site reach each other's public ports (RFC 4787, section 6)
    unsolicited: Unsolicited = Unsolicited.DROP
    ports: Ports = Ports.PRESERVE
    lifetime: int = DEFAULT_LIFETIME  # seconds, of a UDP mapping that is idle
    udp: UdpPolicy = UdpPolicy.ALLOW
    tcp: TcpPolicy = TcpPolicy.ALLOW
    sessions: int | None = None  # of each host inside at once (RFC 6888, REQ-4); None: as many as it likes

    @property
    def translates(self) -> bool:
        """Whether hosts have private addresses."""
        return self.mapping is not NatMapping.NONE

    @property
    def is_open(self) -> bool:
        """Whether it is a router and nothing else: hosts are public, and everything passes."""
        allowed = (self.udp, self.tcp) == (UdpPolicy.ALLOW, TcpPolicy.ALLOW)
        return not self.translates and self.filtering is NatFiltering.ENDPOINT_INDEPENDENT and allowed


class NatPreset(StrEnum):
    """Kinds by the names that people know them by."""

    NONE = "none"
    FIREWALL = "firewall"
    FULL_CONE = "full-cone"
    RESTRICTED_CONE = "restricted-cone"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"
    SYMMETRIC_SEQUENTIAL = "symmetric-sequential"
    HOME = "home"
    CORPORATE = "corporate"
    HOTEL = "hotel"
    MOBILE = "mobile"
    CLOUD = "cloud"
    CGNAT = "cgnat"


_EIM, _APDM = NatMapping.ENDPOINT_INDEPENDENT, NatMapping.ADDRESS_AND_PORT_DEPENDENT
_EIF, _APDF = NatFiltering.ENDPOINT_INDEPENDENT, NatFiltering.ADDRESS_AND_PORT_DEPENDENT

OPEN = Nat(NatMapping.NONE, _EIF, unsolicited=Unsolicited.ACCEPT)
"""No NAT and no firewall."""

PRESETS: dict[NatPreset, Nat] = {
    NatPreset.NONE: OPEN,
    NatPreset.FIREWALL: Nat(NatMapping.NONE, _APDF),
    NatPreset.FULL_CONE: Nat(_EIM, _EIF),
    NatPreset.RESTRICTED_CONE: Nat(_EIM, NatFiltering.ADDRESS_DEPENDENT),
    NatPreset.PORT_RESTRICTED: Nat(_EIM, _APDF),
    NatPreset.SYMMETRIC: Nat(_APDM, _APDF, ports=Ports.RANDOM),
    NatPreset.SYMMETRIC_SEQUENTIAL: Nat(_APDM, _APDF, ports=Ports.SEQUENTIAL),
    NatPreset.HOME: Nat(_EIM, _APDF, hairpin=True),
    NatPreset.CORPORATE: Nat(
        _APDM, _APDF, ports=Ports.RANDOM, lifetime=60, udp=UdpPolicy.DNS_ONLY, tcp=TcpPolicy.WEB_ONLY
    ),
    NatPreset.HOTEL: Nat(_EIM, _APDF, ports=Ports.RANDOM, lifetime=30, udp=UdpPolicy.DNS_ONLY),
    NatPreset.MOBILE: Nat(_APDM, _APDF, ports=Ports.BLOCK_512, lifetime=30),
    # AWS forgets after 350 s (NAT gateways, "Connection idle timeout").
    NatPreset.CLOUD: Nat(_APDM, _APDF, ports=Ports.RANDOM, lifetime=350),
    # RFC 6888, REQ-1 (RFC 4787's requirements hold), REQ-7 (EIF is recommended), and REQ-9 of RFC 4787.
    NatPreset.CGNAT: Nat(_EIM, _EIF, hairpin=True, ports=Ports.RANDOM, lifetime=300),
}
