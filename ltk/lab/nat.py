"""Kinds of NAT as nftables rule sets (terms of RFC 4787).

Connection tracking alone is a NAT that filters by address and port. Everything else rests on what the
router learns of its own mappings, in maps and sets that forget as the mappings do:

    eim     public port -> the socket inside. Lets in those whom the filtering allows, and turns hairpins.
    perm    public port and address that was talked to. For a filtering by address.
    mapped  socket inside (and destination, where the mapping is by address) -> its public port.

A set `sessions` has for each host inside what connection tracking counts of it, where that is capped.

They are learned behind the translation (postrouting, after srcnat), so that two hosts with the same port
come out right. A public port is never computed: a number used as a port directly would be byte-swapped,
so that ports in sequence go through a map.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from ltk.lab.filters import SESSIONS, filter_chains
from ltk.lab.names import LAN, WAN
from ltk.reconcile.resources import Ruleset
from ltk.reconcile.rules import Chain, Store, ruleset
from ltk.topology.expanded import Lab, Site
from ltk.topology.nats import Nat, NatFiltering, NatMapping, Ports

RANDOM_PORTS = "10000-29999"  # apart from the ephemeral ones: within those the kernel would keep a host's
BLOCK_PORTS = "20480-20991"  # one block of 512
FIRST_IN_SEQUENCE, SEQUENCE = 40000, 2048  # the first port, and how many before it comes again
LEARNING = 150  # priority: behind srcnat (100)
TIMEOUTS = -190  # priority: behind connection tracking (-200)

_FIRST = "ct status & confirmed != confirmed"  # a packet that begins a flow
_SOCKET = "ct {0} ip saddr . ct {0} proto-src"  # the inside's, in the flow's original or reply direction


def router_rules(scope: str, lab: Lab, site: Site) -> Ruleset:
    """What the router of a site that is not just a router does to packets."""
    stores: tuple[Store, ...] = ()
    chains = filter_chains(lab, site)
    if site.nat.translates:
        stores = _stores(site.nat)
        chains += tuple(_translation(lab, site))
    return ruleset(scope, chains, ("unsolicited", "blocked"), stores)


def internet_rules(scope: str) -> Ruleset:
    """The internet filters nothing; it counts what it carries, so that a look at it is a proof."""
    kinds = ("udp", "tcp", "icmp", "icmpv6")
    rules = [f"meta l4proto {kind} counter name carried_{kind} accept" for kind in kinds]
    rules.append("counter name carried_other")
    counters = tuple(f"carried_{kind}" for kind in (*kinds, "other"))
    return ruleset(scope, (Chain("carried", "filter", "forward", 0, tuple(rules)),), counters)


def inside_address(lab: Lab, site: Site, name: str) -> IPv4Address:
    """The IPv4 address of a host of the site, or of the router of a site behind it."""
    hosts = {host.node: host.addresses[0].ip for host in site.hosts}
    address = hosts[name] if name in hosts else lab.site(name).wan[0]
    assert isinstance(address, IPv4Address), "behind a NAT there is IPv4 only"
    return address


def wan_address(site: Site) -> IPv4Address:
    """The public address of a site with a NAT."""
    return next(address for address in site.wan if isinstance(address, IPv4Address))


def _learns_sockets(nat: Nat) -> bool:
    return nat.hairpin or nat.filtering is not NatFiltering.ADDRESS_AND_PORT_DEPENDENT


def _learns_mappings(nat: Nat) -> bool:
    """Whether the kernel would not find a socket's port again by itself."""
    by_flow = nat.mapping is NatMapping.ADDRESS_AND_PORT_DEPENDENT
    return not by_flow and not (
        nat.ports is Ports.PRESERVE and nat.mapping is NatMapping.ENDPOINT_INDEPENDENT
    )


def _stores(nat: Nat) -> tuple[Store, ...]:
    found = []
    if _learns_sockets(nat):
        found.append(Store("map", "eim", "inet_service : ipv4_addr . inet_service", nat.lifetime))
    if nat.filtering is NatFiltering.ADDRESS_DEPENDENT:
        found.append(Store("set", "perm", "inet_service . ipv4_addr", nat.lifetime))
    if _learns_mappings(nat):
        by_address = " . ipv4_addr" if nat.mapping is NatMapping.ADDRESS_DEPENDENT else ""
        found.append(
            Store("map", "mapped", f"ipv4_addr . inet_service{by_address} : inet_service", nat.lifetime)
        )
    if nat.sessions is not None:
        found.append(Store("set", SESSIONS, "ipv4_addr"))
    return (*found, Store("ct timeout", f"udp-{nat.lifetime}s", "udp", nat.lifetime))


def _translation(lab: Lab, site: Site) -> Iterator[Chain]:
    nat, wan = site.nat, wan_address(site)
    remember = f'meta nfproto ipv4 meta l4proto udp ct timeout set "udp-{nat.lifetime}s"'
    yield Chain("lifetime", "filter", "prerouting", TIMEOUTS, (remember,))
    yield Chain("inwards", "nat", "prerouting", -100, tuple(_inwards(lab, site, wan)))
    sources = [f'oifname "{WAN}" meta nfproto ipv4 jump mapping']
    if nat.hairpin:
        # only what comes from the LAN itself: who is let in from outside keeps the address that it has
        turned = f'oifname "{LAN}" ip saddr {site.lan[0].network} ct status dnat ct original ip daddr {wan}'
        sources.append(f"{turned} jump mapping")
    yield Chain("source", "nat", "postrouting", 100, tuple(sources))
    yield Chain("mapping", rules=tuple(_mapping(lab, site, wan)))
    if learned := tuple(_learned(nat, wan)):
        yield Chain("learn", "filter", "postrouting", LEARNING, learned)


def _inwards(lab: Lab, site: Site, wan: IPv4Address) -> Iterator[str]:
    """Which packets to the public address are for whom inside."""
    sides = [WAN, LAN] if site.nat.hairpin else [WAN]
    for side in sides:
        to_us = f'iifname "{side}" ip daddr {wan}'
        for forward in site.forward:
            target = f"{inside_address(lab, site, forward.to)}:{forward.inside}"
            yield f"{to_us} {forward.protocol} dport {forward.port} dnat ip to {target}"
        find = f"{to_us} meta l4proto udp"
        if side == WAN and site.nat.filtering is NatFiltering.ADDRESS_DEPENDENT:
            find += " udp dport . ip saddr @perm"
        if side == LAN or site.nat.filtering is not NatFiltering.ADDRESS_AND_PORT_DEPENDENT:
            yield f"{find} dnat ip to udp dport map @eim"
        if site.one_to_one is not None:
            target = f"{inside_address(lab, site, site.one_to_one)}"
            yield f"{to_us} meta l4proto {{ tcp, udp }} dnat ip to {target}"


def _mapping(lab: Lab, site: Site, wan: IPv4Address) -> Iterator[str]:
    """Which public port a packet gets. Whatever chose one for UDP before is asked first."""
    nat, udp = site.nat, "meta l4proto udp snat ip to"
    for forward in site.forward:
        source = f"ip saddr {inside_address(lab, site, forward.to)} {forward.protocol} sport {forward.inside}"
        yield f"{source} snat ip to {wan}:{forward.port}"
    if site.one_to_one is not None:
        yield f"ip saddr {inside_address(lab, site, site.one_to_one)} snat ip to {wan}"
    if _learns_mappings(nat):
        by_address = " . ip daddr" if nat.mapping is NatMapping.ADDRESS_DEPENDENT else ""
        yield f"{udp} {wan} : ip saddr . udp sport{by_address} map @mapped"
    match nat.ports:
        case Ports.RANDOM:
            yield f"{udp} {wan}:{RANDOM_PORTS} fully-random"
        case Ports.BLOCK_512:
            yield f"{udp} {wan}:{BLOCK_PORTS} fully-random"
        case Ports.SEQUENTIAL:
            ports = ", ".join(f"{number} : {FIRST_IN_SEQUENCE + number}" for number in range(SEQUENCE))
            yield f"{udp} {wan} : numgen inc mod {SEQUENCE} map {{ {ports} }}"
        case Ports.PRESERVE:
            # Linux keeps the inside port where it is free, and one mapping for all destinations
            pass
    yield f"snat ip to {wan}"


def _learned(nat: Nat, wan: IPv4Address) -> Iterator[str]:
    """What is noted of a UDP packet that leaves with the public address; the router's own are not."""
    for direction in ("original", "reply"):
        ours = f"ip saddr {wan} meta l4proto udp ct direction {direction} ct {direction} ip saddr != {wan}"
        inside = _SOCKET.format(direction)
        if _learns_sockets(nat):
            # An update renews what is there and does not replace it, and a port may have been another
            # socket's: towards other destinations, or not long ago. Who has got it last has it.
            yield f"{ours} {_FIRST} delete @eim {{ udp sport : {inside} }}"
            yield f"{ours} update @eim {{ udp sport : {inside} }}"
        if _learns_mappings(nat):
            by_address = " . ip daddr" if nat.mapping is NatMapping.ADDRESS_DEPENDENT else ""
            yield f"{ours} update @mapped {{ {inside}{by_address} : udp sport }}"
    if nat.filtering is NatFiltering.ADDRESS_DEPENDENT:
        yield f"ip saddr {wan} meta l4proto udp update @perm {{ udp sport . ip daddr }}"
