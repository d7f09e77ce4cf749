"""Where a site's NAT is probed from: sockets inside of it, and sockets at two addresses outside.

Inside is a host of the site. Outside is the internet's core. Where there is no host, and where the site
stands in the LAN of another, a *guest* takes that place: an unnamed namespace on the LAN, which goes with
the last socket in it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from ltk.errors import LtkError
from ltk.kernel import messages, netns
from ltk.kernel.netlink import Netlink
from ltk.lab.names import LAN
from ltk.lab.sites import INTERNET, MTU, UPLINK
from ltk.lab.vantage import second_addresses
from ltk.reconcile.resources import scope_of
from ltk.topology.addresses import interface
from ltk.topology.expanded import Address, Lab, Site
from ltk.topology.nats import NatMapping
from ltk.topology.values import host_range

_ANYWHERE = ip_network("0.0.0.0/0")
GUEST = "ltk.guest"  # its device in the router; with a dot, which no name of a host has


@dataclass(frozen=True, slots=True)
class Stand:
    """A place where sockets are opened: a namespace (its file), and two addresses in it, perhaps the same."""

    namespace: str
    addresses: tuple[Address, Address]
    device: str | None = None

    def open(self, which: int, port: int = 0) -> socket.socket:
        """A non-blocking UDP socket at the first or the second address; port 0 is any."""
        address = self.addresses[which]
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with netns.inside(self.namespace):
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if self.device is not None:  # past the tunnel, whatever its routes cover
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.device.encode())
            made.bind((str(address), port))
        except OSError as error:
            made.close()
            said = os.strerror(error.errno) if error.errno else str(error)
            raise LtkError(f"opening a socket at {address} port {port}", said) from None
        return made


@dataclass(frozen=True, slots=True)
class Bench:
    """A site with a place inside of it and one outside."""

    site: Site
    inside: Stand
    outside: Stand


@contextlib.contextmanager
def benches(topology: str, lab: Lab, sites: Sequence[Site]) -> Iterator[list[Bench | None]]:
    """Both places of each of `sites`, for as long as the body takes.

    None where nobody is inside and nobody can be put there: hosts without NAT have addresses of the
    internet, and none is handed out for this.
    """
    parents = {site.name: _parent_lan(lab, site) for site in sites}
    needed = {site.name for site in sites if site.lan and not site.hosts}
    needed |= {parent.name for parent in parents.values() if parent is not None}
    with contextlib.ExitStack() as stack:
        guests = {name: stack.enter_context(_guest(topology, lab, lab.site(name))) for name in sorted(needed)}
        found: list[Bench | None] = []
        for site in sites:
            parent = parents[site.name]
            outside = _internet(topology, lab, site) if parent is None else guests[parent.name]
            if site.hosts:
                inside = _hosts(topology, site, outside.addresses[0].version)
                found.append(Bench(site, inside, outside))
            else:
                found.append(Bench(site, guests[site.name], outside) if site.lan else None)
        yield found


def _parent_lan(lab: Lab, site: Site) -> Site | None:
    """The site in whose LAN this one's router stands; behind one without NAT it is on the internet."""
    parent = lab.site(site.behind) if site.behind is not None else None
    return parent if parent is not None and parent.lan else None


def _internet(topology: str, lab: Lab, site: Site) -> Stand:
    wanted = 4 if site.nat.mapping is not NatMapping.NONE else lab.core[0].version
    first, second = (
        next(each for each in some if each.version == wanted) for some in (lab.core, second_addresses(lab))
    )
    return Stand(str(netns.path(scope_of(topology, INTERNET))), (first, second))


def _hosts(topology: str, site: Site, version: int) -> Stand:
    """A host of the site; with `one_to_one` one that is not meant by that, where there is one."""
    host = next((each for each in site.hosts if each.node != site.one_to_one), site.hosts[0])
    address = next(each.ip for each in host.addresses if each.version == version)
    return Stand(str(netns.path(scope_of(topology, host.node))), (address, address), UPLINK)


@contextlib.contextmanager
def _guest(topology: str, lab: Lab, site: Site) -> Iterator[Stand]:
    """A stranger on the site's LAN, with two of its free addresses."""
    lan, doing = site.lan[0], f"standing in the LAN of {site.name}"
    taken = {lan.ip, *(each.ip for host in site.hosts for each in host.addresses)}
    taken |= {wan for other in lab.sites if other.behind == site.name for wan in other.wan}
    numbers = (number for number in reversed(host_range(lan.network)))
    free = [each for each in (interface(lan.network, number) for number in numbers) if each.ip not in taken]
    if len(free) < 2:
        raise LtkError(doing, f"{lan.network} has no two free addresses", hint="Give it a larger lan.")
    router = scope_of(topology, site.name)
    with contextlib.ExitStack() as stack:
        far = os.open(netns.path(router), os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, far)
        with netns.throwaway():
            own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, own)
            with Netlink.open() as netlink:
                netlink.run([messages.create_veth(UPLINK, GUEST, far, MTU)])
                netlink.run([messages.set_link(UPLINK, up=True)])
                index = socket.if_nametoindex(UPLINK)
                netlink.run([messages.add_address(index, UPLINK, each) for each in free[:2]])
        stack.callback(_dismiss, router)
        with netns.inside(router):
            bridge = socket.if_nametoindex(LAN)
        with Netlink.open(router) as netlink:
            netlink.run([messages.set_link(GUEST, up=True, master=bridge)])
        namespace = f"/proc/self/fd/{own}"
        with Netlink.open(namespace) as netlink:
            everywhere = messages.add_route(_ANYWHERE, index, UPLINK, str(lan.ip))
            netlink.run([everywhere])
        yield Stand(namespace, (free[0].ip, free[1].ip))


def _dismiss(router: str) -> None:
    """Take the cable away at once; the kernel would, some time after the last socket."""
    with Netlink.open(router) as netlink:
        netlink.run([messages.delete_link(GUEST)])
