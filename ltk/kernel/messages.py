"""What the kernel reports about devices, addresses and routes, and the requests that change them.

A `Request` is one netlink message that changes state, together with the words for its failure.
Everything that ltk creates bears its mark from the request that creates it on: the group of a
device, the protocol number of an address or a route.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Any, Protocol, TypeAlias

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network

GROUP = 0x6C74  # "lt": the group of every device of ltk's; far from the small numbers people give by hand
PROTOCOL = 108  # "l": origin of routes and addresses; unassigned in iproute2's rt_protos

RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK = 16, 17, 19  # linux/rtnetlink.h
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTM_NEWLINKPROP = 108
NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x200, 0x400, 0x800
IFF_UP = 0x1
IFA_F_NODAD = 0x02
RTNH_F_ONLINK = 0x4
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253


class Message(Protocol):
    """The part of pyroute2's messages that we use."""

    def __getitem__(self, key: str) -> Any: ...
    def get_attr(self, name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A device as the kernel reports it. `altnames` bear what the device is to ltk."""

    index: int
    name: str
    kind: str  # "veth", "bridge", "tun", "tap", "" for the loopback
    mtu: int
    up: bool
    group: int
    master: int | None
    altnames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """An address on the device `index`; `protocol` is its mark."""

    index: int
    interface: Interface
    protocol: int


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of the main table; `protocol` is its mark."""

    destination: Network
    gateway: str | None
    index: int
    metric: int
    protocol: int


@dataclass(slots=True)
class Request:
    """One message that changes state. `tolerated` are errnos that mean "it is so already"."""

    doing: str
    message: Any
    kind: int
    flags: int = 0
    tolerated: tuple[int, ...] = ()

    def encode(self, sequence: int, flags: int) -> bytes:
        """The message's bytes, padded so that another can follow."""
        header = self.message["header"]
        header["type"], header["flags"], header["sequence_number"] = self.kind, self.flags | flags, sequence
        self.message.encode()
        data = bytes(self.message.data)
        return data + bytes(-len(data) % 4)


def create_veth(name: str, peer_name: str, peer_namespace: int, mtu: int) -> Request:
    """A pair of devices, one end here and the other in the namespace of that descriptor.

    Both ends get their mark and their place in the same message: neither is ever seen elsewhere.
    """
    peer = [
        ("IFLA_IFNAME", peer_name),
        ("IFLA_NET_NS_FD", peer_namespace),
        ("IFLA_GROUP", GROUP),
        ("IFLA_MTU", mtu),
    ]
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": peer})]}
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
    attributes = [("IFLA_IFNAME", name), ("IFLA_GROUP", GROUP), ("IFLA_MTU", mtu), ("IFLA_LINKINFO", info)]
    doing = f"creating the veth pair {name} - {peer_name}"
    return Request(doing, _link(attributes), RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)


def create_bridge(name: str, mtu: int) -> Request:
    """A bridge without ports."""
    info = {"attrs": [("IFLA_INFO_KIND", "bridge")]}
    attributes = [("IFLA_IFNAME", name), ("IFLA_GROUP", GROUP), ("IFLA_MTU", mtu), ("IFLA_LINKINFO", info)]
    return Request(f"creating the bridge {name}", _link(attributes), RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)


def set_link(
    name: str,
    *,
    up: bool | None = None,
    mtu: int | None = None,
    master: int | None = None,
    group: int | None = None,
) -> Request:
    """Change what is given and leave the rest; `master` 0 takes a port out of its bridge."""
    attributes: list[tuple[str, Any]] = [("IFLA_IFNAME", name)]
    for key, value in (("IFLA_MTU", mtu), ("IFLA_MASTER", master), ("IFLA_GROUP", group)):
        if value is not None:
            attributes.append((key, value))
    message = _link(attributes)
    if up is not None:
        message["flags"], message["change"] = (IFF_UP if up else 0), IFF_UP
    return Request(f"configuring the device {name}", message, RTM_SETLINK)


def add_altname(name: str, altname: str) -> Request:
    """Give the device one more name, the one that says what it is to ltk."""
    message = _link([("IFLA_IFNAME", name), ("IFLA_PROP_LIST", {"attrs": [("IFLA_ALT_IFNAME", altname)]})])
    flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND
    return Request(f"marking the device {name}", message, RTM_NEWLINKPROP, flags, tolerated=(errno.EEXIST,))


def delete_link(name: str) -> Request:
    """Remove the device, and with a veth its other end."""
    gone = (errno.ENODEV,)
    return Request(f"removing the device {name}", _link([("IFLA_IFNAME", name)]), RTM_DELLINK, tolerated=gone)


def add_address(index: int, device: str, interface: Interface) -> Request:
    """An address, marked as ours; usable at once (no duplicate detection in a lab of our own making)."""
    message = _address(index, interface)
    message["attrs"].append(("IFA_PROTO", PROTOCOL))
    if interface.version == 6:
        message["attrs"].append(("IFA_FLAGS", IFA_F_NODAD))
    doing = f"adding the address {interface} to {device}"
    return Request(doing, message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL)


def delete_address(index: int, device: str, interface: Interface) -> Request:
    """Remove an address; one that has gone with its device is as good."""
    gone = (errno.EADDRNOTAVAIL, errno.ENODEV)
    doing = f"removing the address {interface} from {device}"
    return Request(doing, _address(index, interface), RTM_DELADDR, tolerated=gone)


def add_route(destination: Network, index: int, device: str, gateway: str | None) -> Request:
    """A route, marked as ours. Creation is exclusive: a `replace` would swallow somebody else's.

    The gateway counts as reachable on the device whether or not an address there says so.
    """
    doing = f"adding the route {destination} dev {device}"
    return Request(doing, _route(destination, index, gateway), RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL)


def delete_route(destination: Network, index: int, device: str, gateway: str | None) -> Request:
    """Remove a route of ours; one that has gone with its device is as good."""
    doing = f"removing the route {destination} dev {device}"
    gone = (errno.ESRCH, errno.ENODEV)
    return Request(doing, _route(destination, index, gateway), RTM_DELROUTE, tolerated=gone)


def _link(attributes: Sequence[tuple[str, Any]]) -> Any:
    message = ifinfmsg()
    message["attrs"] = list(attributes)
    return message


def _address(index: int, interface: Interface) -> Any:
    message = ifaddrmsg()
    message["family"] = _family(interface.version)
    message["prefixlen"] = interface.network.prefixlen
    message["index"] = index
    message["attrs"] = [("IFA_LOCAL", str(interface.ip)), ("IFA_ADDRESS", str(interface.ip))]
    return message


def _route(destination: Network, index: int, gateway: str | None) -> Any:
    message = rtmsg()
    message["family"] = _family(destination.version)
    message["dst_len"] = destination.prefixlen
    message["table"], message["proto"], message["type"] = RT_TABLE_MAIN, PROTOCOL, RTN_UNICAST
    message["scope"] = RT_SCOPE_UNIVERSE if gateway or destination.version == 6 else RT_SCOPE_LINK
    attributes: list[tuple[str, Any]] = [("RTA_OIF", index)]
    if destination.prefixlen:
        attributes.append(("RTA_DST", str(destination.network_address)))
    if gateway:
        attributes.append(("RTA_GATEWAY", gateway))
        message["flags"] = RTNH_F_ONLINK
    message["attrs"] = attributes
    return message


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)
