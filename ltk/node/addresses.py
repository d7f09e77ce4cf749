"""The machine's own addresses, and the kernel's word whenever they change.

Read with what a small daemon has at hand: SIOCGIFCONF for IPv4 (netdevice(7)), /proc/net/if_inet6 for IPv6
(the kernel's net/ipv6/addrconf.c), and a raw netlink socket, of which only that something
arrived is of interest (rtnetlink(7)).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

from ltk.node.poller import IN, Poller

SIOCGIFCONF = 0x8912  # linux/sockios.h
IFREQ_SIZE = 40  # bytes; struct ifreq of linux/if.h on 64-bit machines
MOST_ADDRESSES = 4096

IF_INET6 = Path("/proc/net/if_inet6")
GLOBAL_SCOPE = 0x00  # of IPv6 addresses; others lead nowhere from another machine
UNUSABLE = 0x08 | 0x20 | 0x40  # linux/if_addr.h: IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE

NETLINK_ROUTE = 0
RTMGRP_IPV4_IFADDR = 0x10  # linux/rtnetlink.h
RTMGRP_IPV6_IFADDR = 0x100
CHUNK = 1 << 16  # bytes


def own_addresses(without_device: str) -> tuple[str, ...]:
    """The addresses under which other machines may reach this one, but for those of `without_device`."""
    found = [*_ipv4(), *_ipv6()]
    return tuple(
        address
        for device, address in found
        if device != without_device and not ip_address(address).is_loopback
    )


def _ipv4() -> Iterator[tuple[str, str]]:
    buffer = array.array("B", bytes(MOST_ADDRESSES * IFREQ_SIZE))
    start, _ = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFCONF, struct.pack("@iP", len(buffer), start))
    filled = struct.unpack("@iP", answer)[0]
    data = buffer.tobytes()
    for at in range(0, filled, IFREQ_SIZE):
        name = data[at : at + 16].split(b"\0", 1)[0].decode(errors="replace")
        yield name.partition(":")[0], socket.inet_ntoa(data[at + 20 : at + 24])


def _ipv6() -> Iterator[tuple[str, str]]:
    try:
        lines = IF_INET6.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return
    for line in lines:
        address, _, _, scope, flags, device = line.split()
        if int(scope, 16) == GLOBAL_SCOPE and not int(flags, 16) & UNUSABLE:
            yield device, str(ip_address(bytes.fromhex(address)))


class AddressWatch:
    """Calls `changed()` after addresses of this network namespace have come or gone."""

    def __init__(self, poller: Poller, changed: Callable[[], None]) -> None:
        self._poller = poller
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        poller.watch(self._socket.fileno(), IN, self._ready)

    def close(self) -> None:
        """Listen no more."""
        self._poller.forget(self._socket.fileno())
        self._socket.close()

    def _ready(self, _mask: int) -> None:
        # Until there is no more; that there was more than the socket could hold is as good as one change.
        with contextlib.suppress(OSError):
            while True:
                self._socket.recv(CHUNK)
        self._changed()
