"""A lab's network as resources: the internet, the sites' routers, the hosts, and the cables between.

The internet is a routed core and not one flat segment: every site hangs on a cable of its own, so
that hop limits and routes are real. Public hosts have their address to themselves (/32 or /128) and
are reached through their router; hosts behind a NAT share a LAN.

For IPv4 a router answers, on each of its devices, for all of its addresses. For IPv6 it answers for those
of the device alone, and asks for its neighbours from a link-local address (RFC 4861, section 7.2.2): there,
routers have link-local addresses on every cable, and these are the next hops.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_interface, ip_network

from ltk.lab.conditions import cable
from ltk.lab.names import LAN, WAN
from ltk.lab.nat import internet_rules, router_rules
from ltk.lab.vantage import second_addresses
from ltk.reconcile.resources import (
    Address,
    Bridge,
    End,
    Interface,
    Namespace,
    Network,
    Resource,
    Route,
    Setting,
    scope_of,
)
from ltk.topology.expanded import Address as IPAddress
from ltk.topology.expanded import Host, Lab, Site

INTERNET = "internet"
UPLINK = "eth0"  # a host's device towards its router
MTU = 1500  # bytes; Ethernet
UPPER = IPv6Address("fe80::1")  # a cable's end towards the internet
LOWER = IPv6Address("fe80::2")  # the WAN end of a site's cable


def resources(topology: str, lab: Lab) -> list[Resource]:
    """Everything below the tunnels of a lab."""
    found: list[Resource] = list(_internet(topology, lab))
    for site in lab.sites:
        found += _router(topology, lab, site)
        for host in site.hosts:
            found += _host(topology, host)
    return found


def _internet(topology: str, lab: Lab) -> Iterator[Resource]:
    scope = scope_of(topology, INTERNET)
    yield Namespace(scope, topology)
    yield from _router_settings(scope)
    for address in (*lab.core, *second_addresses(lab)):
        yield Address(scope, "lo", _alone(address))
    for site in lab.sites:
        if site.behind is not None:
            continue
        for wan in site.wan:
            yield Route(scope, ip_network(wan), site.name)
            if wan.version == 6:
                yield Address(scope, site.name, _alone(UPPER))
        for address in _public(lab, site):
            router = next(wan for wan in site.wan if wan.version == address.version)
            yield Route(scope, address.network, site.name, _next_hop(router, LOWER))
    yield internet_rules(scope)


def _router(topology: str, lab: Lab, site: Site) -> Iterator[Resource]:
    scope = scope_of(topology, site.name)
    yield Namespace(scope, topology)
    yield from _router_settings(scope)
    yield from _bridge_settings(scope)
    yield cable(End(scope, WAN, MTU), _outer_end(topology, site), site.link)
    yield Bridge(scope, LAN, MTU)
    prefix = _outer_prefix(lab, site)
    for wan, gateway in zip(site.wan, site.gateways, strict=True):
        yield Address(scope, WAN, _alone(wan) if prefix is None else ip_interface((wan, prefix)))
        yield Route(scope, _everything(wan.version), WAN, _next_hop(gateway, UPPER))
        if wan.version == 6:
            yield Address(scope, LAN, _alone(UPPER))
            if site.behind is None:  # in a LAN there may be others, and there it is found as hosts are
                yield Address(scope, WAN, _alone(LOWER))
    for lan in site.lan:
        yield Address(scope, LAN, lan)
    for host in site.hosts:
        uplink, port = End(scope_of(topology, host.node), UPLINK, MTU), End(scope, host.node, MTU, master=LAN)
        yield cable(uplink, port, host.link)
    for address in _public(lab, site):
        yield Route(scope, address.network, LAN)
    if not site.nat.is_open:
        yield router_rules(scope, lab, site)


def _outer_end(topology: str, site: Site) -> End:
    """Where the cable of the site's router ends: on the internet, or in the LAN that it stands in."""
    if site.behind is None:
        return End(scope_of(topology, INTERNET), site.name, MTU)
    return End(scope_of(topology, site.behind), site.name, MTU, master=LAN)


def _outer_prefix(lab: Lab, site: Site) -> int | None:
    """The prefix length of the LAN that the site's router stands in; None where it has a cable to itself."""
    if site.behind is None:
        return None
    return next((lan.network.prefixlen for lan in lab.site(site.behind).lan), None)


def _host(topology: str, host: Host) -> Iterator[Resource]:
    scope = scope_of(topology, host.node)
    yield Namespace(scope, topology)
    yield from _settings(scope)
    for address in host.addresses:
        yield Address(scope, UPLINK, address)
        yield Route(scope, _everything(address.version), UPLINK, _next_hop(_gateway(host, address), UPPER))


def _router_settings(scope: str) -> Iterator[Setting]:
    yield from _settings(scope)
    yield Setting(scope, "net.ipv4.ip_forward", "1")
    yield Setting(scope, "net.ipv6.conf.all.forwarding", "1")
    for each in ("all", "default"):
        yield Setting(scope, f"net.ipv4.conf.{each}.send_redirects", "0")


def _bridge_settings(scope: str) -> Iterator[Setting]:
    for family in ("iptables", "ip6tables", "arptables"):
        # otherwise the rules would see what hosts of one LAN say to each other, and translate it
        yield Setting(scope, f"net.bridge.bridge-nf-call-{family}", "0")


def every_setting(scope: str) -> Iterator[Setting]:
    """All settings that a place of a lab can have, whatever it is; a node that routes has a router's."""
    yield from _router_settings(scope)
    yield from _bridge_settings(scope)


def _settings(scope: str) -> Iterator[Setting]:
    """What every namespace of a lab has in common.

    No IPv6 address made up by the kernel, no waiting for duplicates, nobody asked for a router: a lab's
    cables carry what its programs send and nothing else. And an address that is replaced by another of
    the same subnet must not take its successor with it.
    """
    yield Setting(scope, "net.ipv4.conf.all.promote_secondaries", "1")
    yield Setting(scope, "net.ipv6.conf.default.accept_dad", "0")
    yield Setting(scope, "net.ipv6.conf.default.accept_ra", "0")
    yield Setting(scope, "net.ipv6.conf.default.addr_gen_mode", "1")


def _public(lab: Lab, site: Site) -> Iterator[Interface]:
    """The addresses of the internet behind a site's router, those of sites behind it included."""
    for host in site.hosts:
        # beside a NAT there may be IPv6, which is not translated
        yield from (each for each in host.addresses if each.version == 6 or not site.nat.translates)
    for other in lab.sites:
        if other.behind == site.name and not site.nat.translates:
            yield from map(_alone, other.wan)


def _gateway(host: Host, address: Interface) -> IPAddress:
    return next(gateway for gateway in host.gateways if gateway.version == address.version)


def _next_hop(router: IPAddress, on_link: IPv6Address) -> str:
    """Where packets for `router` go: an IPv6 router by its link-local address on the cable."""
    return str(router if router.version == 4 else on_link)


def _alone(address: IPAddress) -> Interface:
    interface: Interface = ip_interface(address)  # with the prefix length of a single address
    return interface


def _everything(version: int) -> Network:
    network: Network = ip_network("0.0.0.0/0" if version == 4 else "::/0")
    return network
