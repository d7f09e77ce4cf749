"""A real host: what is there of a topology in this machine's own namespace, among all that is not ltk's.

Only what bears the mark *and* belongs to the topology is ever reported as being there: devices by their
alternative name, addresses and routes by protocol number and device, rules by protocol number and
priority. Of the rest, what stands in a wanted place is reported as foreign, and nothing more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ltk.errors import InvalidInputError
from ltk.kernel import nftables, paths, policy
from ltk.kernel.messages import GROUP, PROTOCOL, RT_TABLE_MAIN, Link
from ltk.kernel.netlink import Netlink
from ltk.reconcile import policy_rules, rules, settings
from ltk.reconcile.files import write_private
from ltk.reconcile.resources import (
    HERE,
    Address,
    Interface,
    Key,
    Resource,
    Route,
    Ruleset,
    Tun,
)

MARK = "ltk."  # with which alternative names of ltk's begin


@dataclass(slots=True)
class Look:
    """What one look at this machine gathers."""

    resources: list[Resource] = field(default_factory=list)
    foreign: dict[Key, str] = field(default_factory=dict)
    adoptable: dict[Key, Resource] = field(default_factory=dict)


def node_of(topology: str) -> str | None:
    """Which node of `topology` this machine is; None where it is none."""
    try:
        return paths.here(topology).read_text().strip() or None
    except OSError:
        return None


def topologies_here() -> set[str]:
    """The topologies of which this machine is a node."""
    if not paths.STATE.is_dir():
        return set()
    return {folder.name for folder in paths.STATE.iterdir() if paths.here(folder.name).is_file()}


def marked() -> set[str]:
    """The topologies of which this machine's own namespace has a device."""
    with Netlink.open() as netlink:
        return {name.split(".")[1] for link in netlink.links() if (name := _mark_of(link)) is not None}


def keep(topology: str, node: str, text: str) -> None:
    """Keep over a boot which node this machine is, and what is wanted of it."""
    paths.make_private_folder(paths.state_folder(topology))
    for path, content in ((paths.wanted_here(topology), text), (paths.here(topology), f"{node}\n")):
        if not path.is_file() or path.read_text() != content:
            write_private(path, content)


def keep_applied(topology: str) -> None:
    """Keep over a boot what is wanted of this machine now, where it is a node of `topology`."""
    node = node_of(topology)
    if node is not None and paths.applied(topology).is_file():
        keep(topology, node, paths.applied(topology).read_text())


def refuse_two(topology: str, node: str) -> None:
    """Raise InvalidInputError where this machine is another node of the same topology already."""
    known = node_of(topology)
    if known is not None and known != node:
        raise InvalidInputError(
            f"applying {topology} as {node}",
            f"this machine is {known} of it",
            hint=f"Apply it as that: --node {known}. Or first: ltk destroy {topology}",
        )


def look(topology: str, wanted: Collection[Resource]) -> Look:
    """What there is of `topology` here, and what stands in the places of `wanted`.

    Where the topology is a lab and nothing is wanted here, nothing but this machine's devices is looked at.
    """
    found = Look(settings.observed(topology, wanted))
    wanted = [each for each in wanted if each.scope == HERE]
    keys = {each.key for each in wanted}
    with Netlink.open() as netlink:
        links = {link.index: link for link in netlink.links()}
        if any(f"{MARK}{topology}" in link.altnames for link in links.values()):
            return found  # whoever looks is in a namespace of the lab, and no other machine
        ours = {index for index, link in links.items() if _is_of(topology, link)}
        if not (ours or node_of(topology) or any(isinstance(each, Tun) for each in wanted)):
            return found
        for index, link in links.items():
            if index in ours:
                found.resources.append(Tun(HERE, link.name, link.mtu, link.up, link.super_packet))
            elif (key := (Tun.kind, HERE, link.name)) in keys:
                found.foreign[key] = f"the device {link.name} is not {topology}'s"
                if link.kind == "tun" and _mark_of(link) is None:
                    found.adoptable[key] = Tun(HERE, link.name, link.mtu, link.up, link.super_packet)
        may_be_ours = {links[index].name for index in ours} | {name for _, _, name in found.adoptable}
        others = {index for index, link in links.items() if _mark_of(link) is not None} - ours
        addresses = netlink.addresses()
        for address in addresses:
            device = links[address.index].name
            resource: Resource = Address(HERE, device, address.interface)
            is_ours = address.index in ours and address.protocol == PROTOCOL
            _sort_in(resource, is_ours, keys, found, adoptable=device in may_be_ours)
        for route in netlink.routes(beside=policy.underlay_mark(topology)):
            if route.table == RT_TABLE_MAIN or route.index in ours:
                device = links[route.index].name if route.index in links else ""
                is_ours = route.index in ours and route.protocol == PROTOCOL
                # others' metrics do not count: ours, which has none, would go before all of them
                metric = route.metric if is_ours else 0
                resource = Route(HERE, route.destination, device, route.gateway, metric, route.table)
                _sort_in(resource, is_ours, keys, found, adoptable=route.index not in others)
        for address in addresses:
            if links[address.index].name not in may_be_ours:
                _note_overlap(address.interface, links[address.index].name, wanted, found)
        for rule, protocol in policy_rules.observed(netlink, topology, HERE):
            _sort_in(rule, protocol == PROTOCOL, keys, found, adoptable=False)
    table = f"{rules.TABLE}-{topology}"
    for objects in nftables.tables([HERE], rules.FAMILY, table).values():
        found.resources.append(Ruleset(HERE, rules.fingerprint(objects), table=table))
    return found


def _note_overlap(interface: Interface, device: str, wanted: Collection[Resource], found: Look) -> None:
    """A network of the machine's own with the tunnel's addresses: one of the two would be cut off."""
    for each in wanted:
        if isinstance(each, Address) and interface.ip in each.interface.network:
            words = f"{device} has {interface}, of the tunnel's own subnet {each.interface.network}"
            found.foreign[each.key] = words
            found.adoptable.pop(each.key, None)


def _is_of(topology: str, link: Link) -> bool:
    mark = _mark_of(link)
    return mark is not None and mark.split(".")[1] == topology and link.kind == "tun"


def _mark_of(link: Link) -> str | None:
    if link.group != GROUP:
        return None
    return next((name for name in link.altnames if name.startswith(MARK) and name.count(".") >= 2), None)


def _sort_in(resource: Resource, ours: bool, keys: Collection[Key], found: Look, *, adoptable: bool) -> None:
    if ours:
        found.resources.append(resource)
    elif resource.key in keys and resource.key not in found.foreign:
        found.foreign[resource.key] = f"{resource} was made by somebody else"
        if adoptable:
            found.adoptable[resource.key] = resource
    elif not adoptable:
        found.adoptable.pop(resource.key, None)
