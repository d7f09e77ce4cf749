"""What a fault of the network is in nftables: in which namespaces, and which rules.

Packets are dropped where they arrive, at the far place and before its connection tracking: in a lab that is
as silent as a loss on the way, whereas a drop where a packet is sent is an error to its sender. A place is
told by its addresses, as they are seen from the other; behind one NAT all hosts have the same outside.

The rules stand in a table of their own, a chain for each fault and hook. Each rule bears the fault's words,
and the chain its number: what is in force is read from there, and from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2s

from ltk.lab.names import FAULTS, LAN, WAN
from ltk.lab.nat import inside_address, wan_address
from ltk.lab.sites import UPLINK
from ltk.reconcile.resources import scope_of
from ltk.topology.expanded import Address, Lab, Topology
from ltk.topology.faults import Block, Drop, Fault, FlushNat, MessageClass, outwards, parse
from ltk.topology.nats import NatMapping, Ports

__all__ = ["FAMILY", "TABLE", "Chain", "chains", "gives_the_same_ports", "parse", "read_name", "sources"]

FAMILY, TABLE = FAULTS
ARRIVAL = "type filter hook prerouting priority -300"  # before connection tracking (-200)
DEPARTURE = "type filter hook forward priority -300"
TRANSLATION = "type nat hook postrouting priority 90"  # before srcnat (100), of which the first chain decides
SMALL = 180  # bytes of a datagram (UDP's length); above all control frames, below any packet of 128 bytes
COUNTED_TO = 2**31 - 1  # messages after which --nth begins anew
# Apart from the ports of all other NATs of a lab, and from the ephemeral ones: it would keep a host's.
FIRST_NEW_PORT, NEW_PORTS, NEW_BLOCKS = 61000, 500, 9

_NAME = re.compile(r"(fault|stated)-([0-9]+)-([a-z]+)-([0-9a-f]{8})")
# By the UDP payload: a type of one byte and three zeros, or STUN's magic cookie (RFC 8489, section 5).
_TYPED = "meta l4proto udp @th,72,24 0 @th,64,8 "
_MATCHES = {
    MessageClass.UDP: "meta l4proto udp",
    MessageClass.HANDSHAKE: f"{_TYPED}1-2",
    MessageClass.INITIATION: f"{_TYPED}1",
    MessageClass.RESPONSE: f"{_TYPED}2",
    MessageClass.COOKIE: f"{_TYPED}3",
    MessageClass.DATA: f"{_TYPED}4",
    MessageClass.CONTROL: f"{_TYPED}4 udp length <= {SMALL}",
    MessageClass.RELAYED: f"{_TYPED}0x80",
    MessageClass.STUN: "meta l4proto udp @th,96,32 0x2112a442",
}


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain of a fault, in one namespace."""

    scope: str
    name: str
    text: str  # a block of nft's language


def chains(topology: Topology, fault: Fault, number: int, *, stated: bool = False) -> tuple[Chain, ...]:
    """The chains of a fault of the network; none for any other fault.

    The name of a chain changes with its rules, so that equal names mean equal rules.
    """
    lab = topology.lab
    assert lab is not None, "a fault was read on a topology with a lab"
    match fault:
        case Block(a, None):
            rules = list(_cut_off(lab, fault))
        case Block(a, str(b)):
            rules = [(b, "arrival", f"{each}{_only_udp(fault)}") for each in _arriving(lab, a, b)]
            if not fault.one_way:
                rules += [(a, "arrival", f"{each}{_only_udp(fault)}") for each in _arriving(lab, b, a)]
        case Drop(a, b):
            which = _MATCHES[fault.kind] + _nth(fault)
            rules = [(b, "arrival", f"{each} {which}") for each in _arriving(lab, a, b)]
        case FlushNat(site, new_ports=True) if gives_the_same_ports(lab, site):
            rules = [(site, "ports", each) for each in _other_ports(lab, site, number)]
        case _:
            return ()
    places = dict.fromkeys((place, hook) for place, hook, _ in rules)
    made = []
    for place, hook in places:
        lines = [rule for at, on, rule in rules if (at, on) == (place, hook)]
        verdict = "" if hook == "ports" else " counter drop"
        body = "; ".join(f'{line}{verdict} comment "{fault}"' for line in lines)
        text = f"{_HOOKS[hook]}; policy accept; {body};"
        digest = blake2s(text.encode(), digest_size=4).hexdigest()
        name = f"{'stated' if stated else 'fault'}-{number}-{hook}-{digest}"
        made.append(Chain(scope_of(topology.name, place), name, f"{{ {text} }}"))
    return tuple(made)


def read_name(name: str) -> tuple[int, bool] | None:
    """The number of the fault whose chain has this name, and whether the topology states it."""
    found = _NAME.fullmatch(name)
    return (int(found[2]), found[1] == "stated") if found else None


_HOOKS = {"arrival": ARRIVAL, "departure": DEPARTURE, "ports": TRANSLATION}


def _cut_off(lab: Lab, fault: Block) -> Iterator[tuple[str, str, str]]:
    """(place, hook, match) of all that one place sends, and unless one way of all that it receives."""
    place, udp = fault.a, _only_udp(fault)
    if place in (site.name for site in lab.sites):
        yield place, "departure", f'oifname "{WAN}"{udp}'
        if not fault.one_way:
            yield place, "arrival", f'iifname "{WAN}"{udp}'
        return
    if not fault.one_way:
        yield place, "arrival", f'iifname "{UPLINK}"{udp}'
    site = lab.site_of(place)
    own = _matches(tuple(each.ip for each in lab.host(place).addresses))
    for source in own:
        yield site.name, "arrival", f'iifname "{LAN}" {source}{udp}'
        for other in site.hosts:  # what hosts of one LAN say to each other passes their router's rules by
            if other.node != place:
                yield other.node, "arrival", f'iifname "{UPLINK}" {source}{udp}'
        for behind in lab.sites:
            if behind.behind == site.name:
                yield behind.name, "arrival", f'iifname "{WAN}" {source}{udp}'


def _arriving(lab: Lab, source: str, target: str) -> list[str]:
    """The matches of what comes from `source`, where it arrives at `target`."""
    device = WAN if target in (site.name for site in lab.sites) else UPLINK
    return [f'iifname "{device}" {each}' for each in _matches(sources(lab, source, target))]


def sources(lab: Lab, source: str, target: str) -> tuple[Address, ...]:
    """The addresses that packets of `source` have where they arrive at `target`.

    Each NAT between the two puts its own in; one that both are behind does where it turns packets around.
    """
    sites = {site.name: site for site in lab.sites}
    around = outwards(lab, target)
    way = ([source] if source in sites else []) + outwards(lab, source)
    common = next((name for name in way if name in around), None)
    left = way if common is None else way[: way.index(common)]  # the routers that the packet leaves by
    if source in sites:
        seen = sites[source].wan
        if not sites[source].nat.translates:  # then its hosts have addresses of their own
            seen += tuple(each.ip for host in sites[source].hosts for each in host.addresses)
            seen += tuple(wan for other in lab.sites if other.behind == source for wan in other.wan)
    else:
        seen = tuple(each.ip for each in lab.host(source).addresses)
    for name in left:
        if sites[name].nat.translates:
            seen = sites[name].wan
    if common is not None and sites[common].nat.hairpin:
        seen += sites[common].wan
    return seen


def gives_the_same_ports(lab: Lab, site: str) -> bool:
    """Whether the site's NAT, having forgotten a mapping, would make the same again."""
    nat = lab.site(site).nat
    return nat.mapping is NatMapping.ENDPOINT_INDEPENDENT and nat.ports is Ports.PRESERVE


def _other_ports(lab: Lab, name: str, number: int) -> Iterator[str]:
    """Ports out of a block that is another for each fault, but for those that lead inside."""
    site = lab.site(name)
    for forward in site.forward:
        inside = inside_address(lab, site, forward.to)
        yield f"ip saddr {inside} {forward.protocol} sport {forward.inside} return"
    if site.one_to_one is not None:
        yield f"ip saddr {inside_address(lab, site, site.one_to_one)} return"
    first = FIRST_NEW_PORT + number % NEW_BLOCKS * NEW_PORTS
    ports = f"{first}-{first + NEW_PORTS - 1}"
    leaving = f'oifname "{WAN}" meta nfproto ipv4 meta l4proto udp'
    yield f"{leaving} snat ip to {wan_address(site)}:{ports}"


def _matches(addresses: tuple[Address, ...]) -> list[str]:
    """One match for each family."""
    found = []
    for version, family in ((4, "ip"), (6, "ip6")):
        own = ", ".join(dict.fromkeys(str(each) for each in addresses if each.version == version))
        if own:
            found.append(f"{family} saddr {{ {own} }}")
    return found


def _only_udp(fault: Block) -> str:
    return " meta l4proto udp" if fault.udp else ""


def _nth(fault: Drop) -> str:
    """Which of those that match; each of them is counted by the expression that is asked last."""
    if fault.first is None or fault.last is None:
        return ""
    first, last = fault.first - 1, fault.last - 1
    return f" numgen inc mod {COUNTED_TO} {first if first == last else f'{first}-{last}'}"
