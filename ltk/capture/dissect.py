"""From a packet's bytes to its headers. Pure, and nothing that a network carries makes it raise.

Ethernet, ARP (RFC 826), IPv4 (RFC 791), IPv6 with its extension headers (RFC 8200, section 4), and the
ports of UDP and TCP. What is cut off or contradicts itself is left as it is: bytes of some protocol.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

ETHERNET_HEADER = 14  # bytes
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD  # EtherTypes
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58  # IP protocol numbers
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60
_MAX_EXTENSIONS = 8  # of one packet; more are not followed


class Seen(NamedTuple):
    """What the headers of a packet say."""

    ethertype: int  # 0: not even that
    source: str  # an IP address, or a hardware address
    target: str
    protocol: int | None  # of IP; None: it is not IP
    ports: tuple[int, int] | None  # of UDP and TCP, where they are there
    fragment: int  # bytes of the whole packet before this fragment
    body: memoryview  # what is behind the IP header, or behind Ethernet's

    @property
    def ends(self) -> tuple[str, str]:
        """Source and target, with their ports."""
        if self.ports is None:
            return self.source, self.target
        return _end(self.source, self.ports[0]), _end(self.target, self.ports[1])


def dissect(frame: bytes | memoryview, *, ethernet: bool) -> Seen:
    """Read the headers of a frame, or of a bare IP packet."""
    data = memoryview(frame)
    if not ethernet:
        kind = {4: IPV4, 6: IPV6}.get(data[0] >> 4, 0) if data else 0
        return _network(kind, data) or Seen(kind, "?", "?", None, None, 0, data)
    if len(data) < ETHERNET_HEADER:
        return Seen(0, "?", "?", None, None, 0, data)
    kind, body = int.from_bytes(data[12:14], "big"), data[ETHERNET_HEADER:]
    hardware = Seen(kind, data[6:12].hex(":"), data[:6].hex(":"), None, None, 0, body)
    return _network(kind, body) or hardware


def _network(kind: int, data: memoryview) -> Seen | None:
    if kind == IPV4 and len(data) >= 20 and data[0] >> 4 == 4:
        return _ipv4(data)
    if kind == IPV6 and len(data) >= 40 and data[0] >> 4 == 6:
        return _ipv6(data)
    return None


def _ipv4(data: memoryview) -> Seen:
    start = max(20, (data[0] & 15) << 2)
    stated = int.from_bytes(data[2:4], "big")
    body = data[start : stated if stated > start else len(data)]  # short frames are padded by Ethernet
    fragment = (int.from_bytes(data[6:8], "big") & 0x1FFF) << 3
    source, target = (str(IPv4Address(bytes(data[at : at + 4]))) for at in (12, 16))
    return Seen(IPV4, source, target, data[9], _ports(data[9], fragment, body), fragment, body)


def _ipv6(data: memoryview) -> Seen:
    stated = int.from_bytes(data[4:6], "big")
    body = data[40 : 40 + stated if stated else len(data)]
    protocol, fragment = data[6], 0
    for _ in range(_MAX_EXTENSIONS):
        if len(body) < 8 or fragment:
            break
        if protocol in (_HOP_BY_HOP, _ROUTING, _OPTIONS):
            protocol, body = body[0], body[8 + (body[1] << 3) :]
        elif protocol == _FRAGMENT:
            fragment = int.from_bytes(body[2:4], "big") & 0xFFF8
            protocol, body = body[0], body[8:]
        else:
            break
    source, target = (str(IPv6Address(bytes(data[at : at + 16]))) for at in (8, 24))
    return Seen(IPV6, source, target, protocol, _ports(protocol, fragment, body), fragment, body)


def _ports(protocol: int, fragment: int, body: memoryview) -> tuple[int, int] | None:
    if protocol not in (UDP, TCP) or fragment or len(body) < 4:
        return None
    return int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
