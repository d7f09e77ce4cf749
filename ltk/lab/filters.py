"""What a router lets in and out, with and without a NAT."""

from __future__ import annotations

from collections.abc import Iterator

from ltk.lab.names import LAN, WAN
from ltk.reconcile.rules import Chain
from ltk.topology.expanded import Lab, Site
from ltk.topology.nats import Ipv6, Nat, NatFiltering, TcpPolicy, UdpPolicy, Unsolicited

ANSWERS_ONLY = f'iifname "{WAN}" ct state established,related accept'
# A firewall that lets no neighbour discovery in cannot be found by the next router (RFC 4890, section 4.4.1).
NEIGHBOURS = f'iifname "{WAN}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept'

SESSIONS = "sessions"  # the set in which connection tracking counts those of each host inside

_BLOCKED = "counter name blocked drop"


def filter_chains(lab: Lab, site: Site) -> tuple[Chain, ...]:
    """What is dropped without a word, rejected or accepted, at the router itself as behind it; counted."""
    unsolicited = f'iifname "{WAN}" counter name unsolicited {_verdict(site.nat)}'
    behind = tuple(_behind(lab, site))
    return (
        Chain("input", "filter", "input", 0, (ANSWERS_ONLY, NEIGHBOURS, unsolicited)),
        Chain("forward", "filter", "forward", 0, (*_outwards(site.nat), ANSWERS_ONLY, *behind)),
    )


def _verdict(nat: Nat) -> str:
    match nat.unsolicited:
        case Unsolicited.DROP:
            return "drop"
        case Unsolicited.REJECT:
            # and not "port unreachable", which is what a router says that has let the packet in
            return "reject with icmpx admin-prohibited"
        case Unsolicited.ACCEPT:
            return "accept"


def _outwards(nat: Nat) -> Iterator[str]:
    leaving = f'iifname "{LAN}"'
    match nat.udp:
        case UdpPolicy.BLOCK:
            yield f"{leaving} meta l4proto udp {_BLOCKED}"
        case UdpPolicy.DNS_ONLY:
            yield f"{leaving} udp dport != 53 {_BLOCKED}"
        case UdpPolicy.ALLOW:
            pass
    match nat.tcp:
        case TcpPolicy.BLOCK:
            yield f"{leaving} meta l4proto tcp {_BLOCKED}"
        case TcpPolicy.WEB_ONLY:
            yield f"{leaving} tcp dport != {{ 80, 443 }} {_BLOCKED}"
        case TcpPolicy.ALLOW:
            pass
    if nat.sessions is not None:
        # To connection tracking a session is new until it is answered; here, until its first packet has left.
        new = f"{leaving} meta nfproto ipv4 ct status & confirmed != confirmed"
        yield f"{new} add @{SESSIONS} {{ ip saddr ct count over {nat.sessions} }} {_BLOCKED}"


def _behind(lab: Lab, site: Site) -> Iterator[str]:
    """Who gets through to the LAN, beside answers."""
    if site.nat.translates:
        yield f'iifname "{WAN}" ct status dnat accept'
        not_translated = f'iifname "{WAN}" meta nfproto ipv6'
        match site.ipv6:
            case Ipv6.OPEN:
                yield f"{not_translated} accept"
            case Ipv6.FIREWALL if site.nat.unsolicited is Unsolicited.REJECT:
                yield f"{not_translated} counter name unsolicited {_verdict(site.nat)}"
            case _:
                pass
        yield f'iifname "{WAN}" counter name unsolicited drop'  # nobody outside knows a way to the LAN
        return
    if site.nat.filtering is NatFiltering.ENDPOINT_INDEPENDENT:
        return
    for forward in site.forward:
        hosts = {host.node: [each.ip for each in host.addresses] for host in site.hosts}
        for address in hosts[forward.to] if forward.to in hosts else lab.site(forward.to).wan:
            family = "ip" if address.version == 4 else "ip6"
            yield f'iifname "{WAN}" {family} daddr {address} {forward.protocol} dport {forward.port} accept'
    yield f'iifname "{WAN}" counter name unsolicited {_verdict(site.nat)}'
