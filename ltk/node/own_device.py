"""A TUN device that lives as long as the process that made it, for nodes that nobody else sets up.

It is not persistent: the kernel takes it away, its address and its routes with it, when its descriptor is
closed, also that of a process that was killed. So there is nothing to clean up and nothing to be left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections import Counter
from ipaddress import IPv4Interface, IPv6Interface

from ltk.errors import InTheWayError, LtkError, MissingError
from ltk.kernel import messages, offloads
from ltk.kernel.netlink import Netlink
from ltk.node.tun import (
    CLONE_DEVICE,
    IFF_NO_PI,
    IFF_TUN,
    IFF_VNET_HDR,
    IFREQ,
    TUNSETIFF,
    TUNSETVNETHDRSZ,
    Tun,
)
from ltk.protocol.segments import largest_super_packet
from ltk.protocol.vnet import VNET_SIZE

IFF_TUN_EXCL = 0x8000  # linux/if_tun.h: make it, and take none that exists
PREFIX = "ltk"
MOST_DEVICES = 64  # names that are tried


def make(
    name: str | None,
    address: IPv4Interface | IPv6Interface,
    mtu: int,
    drops: Counter[str],
    *,
    with_headers: bool,
) -> Tun:
    """Make a device with ltk's mark, this address (whose subnet is routed to it) and MTU, and set it up.

    Without a name it is the first of ltk0, ltk1, … that is free. Raises InTheWayError where the name is
    taken, or another device is in the same subnet, MissingError without TUN support or the privilege.
    """
    _check_subnet(address)
    names = [name] if name is not None else [f"{PREFIX}{number}" for number in range(MOST_DEVICES)]
    for candidate in names:
        descriptor = _open(candidate, with_headers=with_headers)
        if descriptor is None:
            continue
        try:
            _set_up(candidate, address, mtu)
            turned_on = offloads.turn_on(descriptor) if with_headers else None
        except LtkError:
            os.close(descriptor)
            raise
        return Tun(candidate, descriptor, drops, turned_on)
    raise InTheWayError(
        f"making the device {names[0]}", "a device of that name exists", hint="Choose another: --device NAME"
    )


def _check_subnet(address: IPv4Interface | IPv6Interface) -> None:
    """Raise InTheWayError where the machine is in the subnet, or a part of it, already."""
    with Netlink.open() as netlink:
        for each in netlink.addresses():
            other = each.interface
            if other.version == address.version and other.network.overlaps(address.network):
                raise InTheWayError(
                    f"taking the tunnel address {address}",
                    f"this machine has {other} already",
                    hint="Choose a subnet for the tunnel in which none of its machines is.",
                )


def _open(name: str, *, with_headers: bool) -> int | None:
    """Make the device and return its descriptor; None where a device of that name exists."""
    doing = f"making the device {name}"
    try:
        descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = "It needs root and the kernel module tun; see: ltk doctor"
        raise MissingError(doing, f"{CLONE_DEVICE}: {error.strerror}", hint=hint) from None
    flags = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL | (IFF_VNET_HDR if with_headers else 0)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, IFREQ.pack(os.fsencode(name), flags))
        if with_headers:
            fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, VNET_SIZE.to_bytes(4, sys.byteorder))
    except OSError as error:
        os.close(descriptor)
        match error.errno:
            case errno.EBUSY:
                return None
            case errno.EPERM:
                hint = "It needs CAP_NET_ADMIN: run it as root."
                raise MissingError(doing, "permission denied", hint=hint) from None
            case _:
                raise LtkError(doing, error.strerror or str(error)) from None
    return descriptor


def _set_up(name: str, address: IPv4Interface | IPv6Interface, mtu: int) -> None:
    marked = messages.set_link(
        name, up=True, mtu=mtu, group=messages.GROUP, super_packet=largest_super_packet(mtu)
    )
    with Netlink.open() as netlink:
        netlink.run([marked, messages.add_address(socket.if_nametoindex(name), name, address)])
