"""A topology with faults that change what is wanted: another address, another site, another link.

They are put on the expanded topology, and the reconciler brings the machine there as from any other change.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TypeAlias

from ltk.errors import InvalidInputError
from ltk.lab.vantage import second_addresses
from ltk.topology.addresses import address as address_of
from ltk.topology.addresses import alone, interface
from ltk.topology.expanded import Address, Host, Interface, Lab, Link, Network, Site, Topology
from ltk.topology.faults import ChangeAddress, ChangeLink, Fault, Move
from ltk.topology.quantities import duration_text
from ltk.topology.values import host_range

Change: TypeAlias = ChangeAddress | ChangeLink | Move


def settled(topology: Topology, fault: Change) -> Change:
    """The same fault with the addresses that it left open; raises InvalidInputError where it cannot be.

    Whoever keeps it keeps these, so that it means the same after other faults have come and gone.
    """
    lab = _lab(topology)
    match fault:
        case ChangeAddress(place, stated):
            networks = _networks(lab, place)
            _server_is_elsewhere(topology, place, fault)
            return replace(fault, addresses=_chosen(lab, fault, networks, stated, keep_others=bool(stated)))
        case Move(_, site, stated):
            home = lab.site(site)
            networks = (home.lan[0].network,) if home.lan else lab.internet
            return replace(fault, addresses=_chosen(lab, fault, networks, stated, keep_others=False))
        case ChangeLink():
            _changed_link(lab, fault)
            return fault


def applied(topology: Topology, fault: Change) -> Topology:
    """The topology as the fault, which is settled, makes it; raises InvalidInputError where it cannot be."""
    lab = _lab(topology)
    match fault:
        case ChangeAddress(place, addresses):
            _chosen(lab, fault, _networks(lab, place), addresses, keep_others=True)
            if place in _sites(lab):
                return replace(topology, lab=_with_wan(lab, place, addresses))
            return replace(topology, lab=_with_host(lab, _readdressed(lab, place, addresses)))
        case Move(node, site, addresses):
            return replace(topology, lab=_moved(lab, node, site, addresses))
        case ChangeLink(place):
            link = _changed_link(lab, fault)
            if place in _sites(lab):
                return replace(topology, lab=_with_site(lab, replace(lab.site(place), link=link)))
            return replace(topology, lab=_with_host(lab, replace(lab.host(place), link=link)))


def _lab(topology: Topology) -> Lab:
    assert topology.lab is not None, "a fault was read on a topology with a lab"
    return topology.lab


def _sites(lab: Lab) -> set[str]:
    return {site.name for site in lab.sites}


def _with_site(lab: Lab, changed: Site) -> Lab:
    return replace(lab, sites=tuple(changed if each.name == changed.name else each for each in lab.sites))


def _with_host(lab: Lab, changed: Host) -> Lab:
    site = lab.site_of(changed.node)
    hosts = tuple(changed if each.node == changed.node else each for each in site.hosts)
    return _with_site(lab, replace(site, hosts=hosts))


def _networks(lab: Lab, place: str) -> tuple[Network, ...]:
    """Where the outer addresses of a place are from: a LAN, or the internet."""
    if place in _sites(lab):
        parent = lab.site(place).behind
        around = lab.site(parent) if parent is not None else None
    else:
        around = lab.site_of(place)
    return (around.lan[0].network,) if around is not None and around.lan else lab.internet


def _chosen(
    lab: Lab,
    fault: Change,
    networks: Iterable[Network],
    stated: tuple[Address, ...],
    *,
    keep_others: bool,
) -> tuple[Address, ...]:
    """One address for each of the networks: the stated one, or unless the others stay the lowest free one."""
    taken, networks = _taken(lab), tuple(networks)
    for each in stated:
        network = next((network for network in networks if each in network), None)
        if network is None or int(each) not in host_range(network):
            where = " or ".join(map(str, networks))
            raise InvalidInputError(f"applying the fault {str(fault)!r}", f"{each} is no address of {where}")
        if each in taken:
            raise InvalidInputError(f"applying the fault {str(fault)!r}", f"{each} is somebody's already")
    found = []
    for network in networks:
        own = next((each for each in stated if each in network), None)
        if own is None and not keep_others:
            free = (address_of(network, number) for number in host_range(network))
            own = next((each for each in free if each not in taken), None)
            if own is None:
                problem = f"{network} has no free address"
                raise InvalidInputError(f"applying the fault {str(fault)!r}", problem)
        if own is not None:
            found.append(own)
    return tuple(found)


def _taken(lab: Lab) -> set[Address]:
    found: set[Address] = {*lab.core, *second_addresses(lab)}
    for site in lab.sites:
        found |= {*site.wan, *(each.ip for each in site.lan)}
        found |= {each.ip for host in site.hosts for each in host.addresses}
    return found


def _server_is_elsewhere(topology: Topology, place: str, fault: Fault) -> None:
    lab, endpoint = _lab(topology), topology.server.endpoint or ""
    found = endpoint.rpartition(":")[0].strip("[]")
    own = lab.site(place).wan if place in _sites(lab) else tuple(e.ip for e in lab.host(place).addresses)
    if found in map(str, own):
        doing, problem = f"applying the fault {str(fault)!r}", f"clients find the server at {found}"
        raise InvalidInputError(doing, problem, hint="Change its address in the file, and apply it.")


def _with_wan(lab: Lab, name: str, addresses: tuple[Address, ...]) -> Lab:
    """The lab with other addresses of a router, by family; those behind it have it as their gateway."""
    old = lab.site(name).wan
    new = {each.version: each for each in addresses}

    def swapped(given: tuple[Address, ...]) -> tuple[Address, ...]:
        return tuple(new.get(each.version, each) if each in old else each for each in given)

    def rewritten(site: Site) -> Site:
        if site.name == name:
            hosts = tuple(replace(host, gateways=swapped(host.gateways)) for host in site.hosts)
            return replace(site, wan=swapped(site.wan), hosts=site.hosts if site.lan else hosts)
        return replace(site, gateways=swapped(site.gateways)) if site.behind == name else site

    return replace(lab, sites=tuple(map(rewritten, lab.sites)))


def _readdressed(lab: Lab, node: str, addresses: tuple[Address, ...]) -> Host:
    host, new = lab.host(node), {each.version: each for each in addresses}
    own = tuple(_like(each, new[each.version]) if each.version in new else each for each in host.addresses)
    return replace(host, addresses=own)


def _like(old: Interface, new: Address) -> Interface:
    if old.network.prefixlen == old.network.max_prefixlen:
        return alone(new)
    return interface(old.network, int(new))


def _moved(lab: Lab, node: str, to: str, addresses: tuple[Address, ...]) -> Lab:
    """The lab with the node in another site. Ports that led to it lead nowhere where it was."""
    old, new = lab.site_of(node), lab.site(to)
    if new.lan:
        lan: IPv4Network = new.lan[0].network
        own: tuple[Interface, ...] = tuple(interface(lan, int(each)) for each in addresses)
        gateways: tuple[Address, ...] = (new.lan[0].ip,)
    else:
        own, gateways = tuple(map(alone, addresses)), new.wan
    host = replace(lab.host(node), addresses=own, gateways=gateways)
    left = replace(
        old,
        hosts=tuple(each for each in old.hosts if each.node != node),
        forward=tuple(each for each in old.forward if each.to != node),
        one_to_one=None if old.one_to_one == node else old.one_to_one,
    )
    lab = _with_site(lab, left)
    return _with_site(lab, replace(new, hosts=(*new.hosts, host)))


def _changed_link(lab: Lab, fault: ChangeLink) -> Link:
    """The place's link with the fault's conditions; what makes no sense together is refused."""
    old = lab.site(fault.place).link if fault.place in _sites(lab) else lab.host(fault.place).link
    old = old or Link(0, 0, 0, zlib.crc32(fault.place.encode()))
    link = replace(old, **dict(fault.changes))
    doing = f"applying the fault {str(fault)!r}"
    if link.jitter > link.delay:
        jitter, delay = duration_text(link.jitter), duration_text(link.delay)
        raise InvalidInputError(doing, f"a jitter of {jitter} is more than the delay of {delay}")
    if link.reorder and not link.delay:
        raise InvalidInputError(doing, "without a delay there is nothing to overtake", hint="Say delay=20ms.")
    return link
