"""What the kernel reports about devices, addresses and routes, and the requests that change them.

A `Request` is one netlink message that changes state, together with the words for its failure.
Everything that ltk creates bears its mark from the request that creates it on: the group of a
device, the protocol number of an address or a route.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import TypeAlias

from ltk.kernel.attributes import (
    as_number,
    as_text,
    attribute,
    attributes,
    each_attribute,
    nested,
    number,
    text,
)

Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network

GROUP = 0x6C74  # "lt": the group of every device of ltk's; far from the small numbers people give by hand
PROTOCOL = 108  # "l": origin of routes and addresses; unassigned in iproute2's rt_protos

RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK = 16, 17, 19  # linux/rtnetlink.h
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
IFF_UP = 0x1
IFA_F_NODAD = 0x02
RTNH_F_ONLINK = 0x4
RT_TABLE_MAIN = 254
RT_TABLE_COMPAT = 252  # a number that needs more than a byte, and stands in RTA_TABLE
RTN_UNICAST = 1
# blackhole, unreachable, prohibit and throw: routes without a device, in the place of one that has one
RTN_REFUSALS = (6, 7, 8, 9)
IPV6_METRIC = 1024  # IP6_RT_PRIO_USER of linux/ipv6_route.h: what a route without a metric gets
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
ARPHRD_ETHER = 1  # linux/if_arp.h

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18  # linux/if_link.h
IFLA_GROUP, IFLA_NET_NS_FD, IFLA_GSO_MAX_SIZE, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 27, 28, 41, 52, 53
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1  # linux/veth.h
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS, IFA_PROTO = 1, 2, 8, 11  # linux/if_addr.h
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE = 1, 4, 5, 6, 15  # linux/rtnetlink.h

CACHED = 4096  # addresses and networks that need not be made again

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, hardware type, index, flags, changed flags
ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
# struct rtmsg: family, destination's and source's length, service, table, protocol, scope, type, flags
ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class Link:
    """A device as the kernel reports it. `altnames` bear what the device is to ltk.

    `super_packet` is how many bytes the kernel hands over at most as one packet, to be cut later.
    """

    index: int
    name: str
    kind: str  # "veth", "bridge", "tun", "tap", "" for the loopback
    mtu: int
    up: bool
    group: int
    master: int | None
    altnames: tuple[str, ...]
    super_packet: int = 1 << 16


@dataclass(frozen=True, slots=True)
class Address:
    """An address on the device `index`; `protocol` is its mark."""

    index: int
    interface: Interface
    protocol: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route that `read_route` tells of; `protocol` is its mark. One that only refuses has the `index` 0.

    `metric` is 0 where nobody gave one.
    """

    destination: Network
    gateway: str | None
    index: int
    metric: int
    protocol: int
    table: int = RT_TABLE_MAIN


@dataclass(frozen=True, slots=True)
class Request:
    """One message that changes state. `tolerated` are errnos that mean "it is so already"."""

    doing: str
    body: bytes
    kind: int
    flags: int = 0
    tolerated: tuple[int, ...] = ()

    def encode(self, sequence: int, flags: int) -> bytes:
        """The message's bytes, a multiple of four, so that another can follow."""
        length = HEADER.size + len(self.body)
        return HEADER.pack(length, self.kind, self.flags | flags, sequence, 0) + self.body


def create_veth(name: str, peer_name: str, peer_namespace: int, mtu: int) -> Request:
    """A pair of devices, one end here and the other in the namespace of that descriptor.

    Both ends get their mark and their place in the same message: neither is ever seen elsewhere.
    """
    peer = _link(peer_name, number(IFLA_NET_NS_FD, peer_namespace), *_marked(mtu))
    data = nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))
    doing = f"creating the veth pair {name} - {peer_name}"
    return Request(
        doing, _link(name, *_marked(mtu), _kind("veth", data)), RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL
    )


def create_bridge(name: str, mtu: int, hardware: bytes | None = None) -> Request:
    """A bridge without ports, with this Ethernet address (6 bytes) for good.

    With None it has the lowest of its ports', and another as they come and go.
    """
    own = () if hardware is None else (attribute(IFLA_ADDRESS, hardware),)
    body = _link(name, *_marked(mtu), *own, _kind("bridge"))
    return Request(f"creating the bridge {name}", body, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)


def set_link(
    name: str,
    *,
    up: bool | None = None,
    mtu: int | None = None,
    master: int | None = None,
    group: int | None = None,
    super_packet: int | None = None,
    hardware: bytes | None = None,
) -> Request:
    """Change what is given and leave the rest; `master` 0 takes a port out of its bridge.

    `hardware` is an Ethernet address, 6 bytes.
    """
    given = (
        (IFLA_MTU, mtu),
        (IFLA_MASTER, master),
        (IFLA_GROUP, group),
        (IFLA_GSO_MAX_SIZE, super_packet),
    )
    changes = [number(kind, value) for kind, value in given if value is not None]
    if hardware is not None:
        changes.append(attribute(IFLA_ADDRESS, hardware))
    flags, changed = (0, 0) if up is None else (IFF_UP if up else 0, IFF_UP)
    return Request(
        f"configuring the device {name}", _link(name, *changes, flags=flags, changed=changed), RTM_SETLINK
    )


def add_altname(name: str, altname: str) -> Request:
    """Give the device one more name, the one that says what it is to ltk."""
    body = _link(name, nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, altname)))
    flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND
    return Request(f"marking the device {name}", body, RTM_NEWLINKPROP, flags, tolerated=(errno.EEXIST,))


def delete_altname(name: str, altname: str) -> Request:
    """Take that name away again; one that has gone is as good."""
    body = _link(name, nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, altname)))
    gone = (errno.ENOENT, errno.ENODEV, errno.EINVAL)
    return Request(f"giving back the device {name}", body, RTM_DELLINKPROP, tolerated=gone)


def delete_link(name: str) -> Request:
    """Remove the device, and with a veth its other end."""
    return Request(f"removing the device {name}", _link(name), RTM_DELLINK, tolerated=(errno.ENODEV,))


def add_address(index: int, device: str, interface: Interface) -> Request:
    """An address, marked as ours; usable at once (no duplicate detection in a lab of our own making)."""
    body = _address(index, interface) + attribute(IFA_PROTO, bytes((PROTOCOL,)))
    if interface.version == 6:
        body += number(IFA_FLAGS, IFA_F_NODAD)
    doing = f"adding the address {interface} to {device}"
    return Request(doing, body, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL)


def take_over_address(index: int, device: str, interface: Interface) -> Request:
    """Mark an address that is there already as ours."""
    body = _address(index, interface) + attribute(IFA_PROTO, bytes((PROTOCOL,)))
    doing = f"taking over the address {interface} of {device}"
    return Request(doing, body, RTM_NEWADDR, NLM_F_REPLACE)


def give_back_address(index: int, device: str, interface: Interface, protocol: int) -> Request:
    """Mark an address as it was marked before it was ours."""
    body = _address(index, interface) + attribute(IFA_PROTO, bytes((protocol,)))
    gone = (errno.EADDRNOTAVAIL, errno.ENODEV)
    doing = f"giving back the address {interface} of {device}"
    return Request(doing, body, RTM_NEWADDR, NLM_F_REPLACE, tolerated=gone)


def delete_address(index: int, device: str, interface: Interface) -> Request:
    """Remove an address; one that has gone with its device is as good."""
    gone = (errno.EADDRNOTAVAIL, errno.ENODEV)
    doing = f"removing the address {interface} from {device}"
    return Request(doing, _address(index, interface), RTM_DELADDR, tolerated=gone)


def add_route(
    destination: Network,
    index: int,
    device: str,
    gateway: str | None,
    metric: int = 0,
    table: int = RT_TABLE_MAIN,
) -> Request:
    """A route, marked as ours. Creation is exclusive: a `replace` would swallow somebody else's.

    The gateway counts as reachable on the device whether or not an address there says so.
    """
    doing = f"adding the route {destination} dev {device}"
    body = _route(destination, index, gateway, metric, table)
    return Request(doing, body, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL)


def take_over_route(destination: Network, index: int, device: str, gateway: str | None) -> Request:
    """Mark a route that is there already as ours: one of ours takes its place."""
    doing = f"taking over the route {destination} dev {device}"
    body = _route(destination, index, gateway)
    return Request(doing, body, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE)


def delete_any_route(destination: Network) -> Request:
    """Remove the route without a metric to this destination, whosever and of whatever kind it is."""
    family = _family(destination.version)
    body = ROUTE.pack(family, destination.prefixlen, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_NOWHERE, 0, 0)
    if destination.prefixlen:
        body += attribute(RTA_DST, destination.network_address.packed)
    if destination.version == 6:
        body += number(RTA_PRIORITY, IPV6_METRIC)
    return Request(f"removing the route {destination}", body, RTM_DELROUTE, tolerated=(errno.ESRCH,))


def delete_as_told(body: bytes) -> Request:
    """Remove the very route that a message of the kernel tells of; one that has gone is as good."""
    return Request("removing a route that was in the way", body, RTM_DELROUTE, tolerated=(errno.ESRCH,))


def add_as_told(body: bytes) -> Request:
    """Make a route again as a message of the kernel told of it; one that is there is as good.

    Of its flags only what somebody has asked for: the kernel's own word on its device is not taken back.
    """
    *head, flags = ROUTE.unpack_from(body)
    body = ROUTE.pack(*head, flags & RTNH_F_ONLINK) + body[ROUTE.size :]
    doing = "giving back a route that was in the way"
    return Request(doing, body, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, tolerated=(errno.EEXIST,))


def delete_route(
    destination: Network,
    index: int,
    device: str,
    gateway: str | None,
    metric: int = 0,
    table: int = RT_TABLE_MAIN,
) -> Request:
    """Remove a route of ours; one that has gone with its device is as good."""
    doing = f"removing the route {destination} dev {device}"
    gone = (errno.ESRCH, errno.ENODEV)
    return Request(doing, _route(destination, index, gateway, metric, table), RTM_DELROUTE, tolerated=gone)


def read_link(body: bytes) -> Link:
    """The device that a message of the kernel (struct ifinfomsg and its attributes) tells of."""
    _family, hardware, index, flags, _changed = LINK.unpack_from(body)
    found = attributes(body, LINK.size)
    info = attributes(found.get(IFLA_LINKINFO, b""))
    kind = as_text(info.get(IFLA_INFO_KIND, b""))
    if kind == "tun" and hardware == ARPHRD_ETHER:
        kind = "tap"  # the kernel has one kind for both
    return Link(
        index=index,
        name=as_text(found[IFLA_IFNAME]),
        kind=kind,
        mtu=as_number(found.get(IFLA_MTU)),
        up=bool(flags & IFF_UP),
        group=as_number(found.get(IFLA_GROUP)),
        master=as_number(found[IFLA_MASTER]) if IFLA_MASTER in found else None,
        altnames=tuple(
            as_text(value)
            for kind_of, value in each_attribute(found.get(IFLA_PROP_LIST, b""))
            if kind_of == IFLA_ALT_IFNAME
        ),
        super_packet=as_number(found.get(IFLA_GSO_MAX_SIZE)),
    )


def read_address(body: bytes) -> Address:
    """The address that a message of the kernel (struct ifaddrmsg and its attributes) tells of."""
    _family, prefix, _flags, _scope, index = ADDRESS.unpack_from(body)
    found = attributes(body, ADDRESS.size)
    own = found.get(IFA_LOCAL) or found[IFA_ADDRESS]  # IPv6 has the one, both where there is a peer
    return Address(index, _interface(own, prefix), as_number(found.get(IFA_PROTO)))


def read_route(body: bytes, beside: int | None = None) -> Route | None:
    """The route that a message of the kernel (struct rtmsg and its attributes) tells of.

    None for one of another table than the main one and `beside`, of multicast and the like, and one that is
    for a type of service or a source alone: none of them can be where ltk has its routes.
    """
    family, prefix, source, service, table, protocol, _scope, kind, _flags = ROUTE.unpack_from(body)
    if kind not in (RTN_UNICAST, *RTN_REFUSALS) or source or service:
        return None
    if table != RT_TABLE_MAIN and (beside is None or table != RT_TABLE_COMPAT):
        return None
    found = attributes(body, ROUTE.size)
    if table != RT_TABLE_MAIN and (table := as_number(found.get(RTA_TABLE))) != beside:
        return None
    everything = bytes(4 if family == socket.AF_INET else 16)
    gateway = found.get(RTA_GATEWAY)
    metric = as_number(found.get(RTA_PRIORITY))
    return Route(
        destination=_network(found.get(RTA_DST, everything), prefix),
        gateway=None if gateway is None else socket.inet_ntop(family, gateway),
        index=as_number(found.get(RTA_OIF)) if kind == RTN_UNICAST else 0,
        metric=0 if (family, metric) == (socket.AF_INET6, IPV6_METRIC) else metric,
        protocol=protocol,
        table=table,
    )


@lru_cache(CACHED)  # the loopback's and the default routes are in every namespace
def _interface(own: bytes, prefix: int) -> Interface:
    return ip_interface((own, prefix))


@lru_cache(CACHED)  # the loopback's and the default routes are in every namespace
def _network(destination: bytes, prefix: int) -> Network:
    return ip_network((destination, prefix))


def _link(name: str, *more: bytes, flags: int = 0, changed: int = 0) -> bytes:
    return LINK.pack(socket.AF_UNSPEC, 0, 0, flags, changed) + text(IFLA_IFNAME, name) + b"".join(more)


def _marked(mtu: int) -> tuple[bytes, bytes]:
    return number(IFLA_GROUP, GROUP), number(IFLA_MTU, mtu)


def _kind(kind: str, data: bytes = b"") -> bytes:
    return nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), data)


def _address(index: int, interface: Interface) -> bytes:
    header = ADDRESS.pack(_family(interface.version), interface.network.prefixlen, 0, 0, index)
    own = interface.ip.packed
    return header + attribute(IFA_LOCAL, own) + attribute(IFA_ADDRESS, own)


def _route(
    destination: Network, index: int, gateway: str | None, metric: int = 0, table: int = RT_TABLE_MAIN
) -> bytes:
    scope = RT_SCOPE_UNIVERSE if gateway or destination.version == 6 else RT_SCOPE_LINK
    flags = RTNH_F_ONLINK if gateway else 0
    prefix, family = destination.prefixlen, _family(destination.version)
    short = table if table == RT_TABLE_MAIN else RT_TABLE_COMPAT
    body = ROUTE.pack(family, prefix, 0, 0, short, PROTOCOL, scope, RTN_UNICAST, flags)
    body += number(RTA_OIF, index)
    if metric:
        body += number(RTA_PRIORITY, metric)
    if short != table:
        body += number(RTA_TABLE, table)
    if prefix:
        body += attribute(RTA_DST, destination.network_address.packed)
    if gateway:
        body += attribute(RTA_GATEWAY, ip_address(gateway).packed)
    return body


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)
