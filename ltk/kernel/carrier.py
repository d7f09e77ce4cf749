"""When a TUN device carries what is sent to it: a moment after somebody has attached to it.

Its carrier comes with whoever attaches, but the kernel turns its queue on later (net/core/link_watch.c), and
not before whoever changes devices meanwhile, anywhere on the machine, has done so. What is sent until then
is dropped without a word: of packets sent at once, one in six at rest, and for milliseconds on a machine that
brings up a lab.

Imports nothing heavy, as `tap`.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import time
from collections.abc import Iterator

DEADLINE = 2.0  # seconds; a device that does not carry by then is used all the same

SIOCGIFFLAGS = 0x8913  # linux/sockios.h
IFREQ = struct.Struct("16sH22x")  # struct ifreq of linux/if.h: name, flags
IFF_UP, IFF_RUNNING = 0x1, 0x40  # linux/if.h

NETLINK_ROUTE, RTMGRP_LINK, RTM_NEWLINK = 0, 0x1, 16  # linux/netlink.h, linux/rtnetlink.h
LINK = struct.Struct("=IHHIIBxHiII")  # struct nlmsghdr, struct ifinfomsg
CHUNK = 1 << 16  # bytes


@contextlib.contextmanager
def awaited(name: str) -> Iterator[None]:
    """Attach to the device `name` of this namespace in the body; wait until what is sent to it is carried.

    One that is down is not waited for.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as news:
        news.bind((0, RTMGRP_LINK))
        yield
        with contextlib.suppress(OSError):  # it has gone since, as whoever reads there will be told
            _, flags = IFREQ.unpack(fcntl.ioctl(news, SIOCGIFFLAGS, IFREQ.pack(name.encode(), 0)))
            if flags & IFF_UP and not flags & IFF_RUNNING:
                _await(news, socket.if_nametoindex(name))


def _await(news: socket.socket, index: int) -> None:
    """Return when the kernel says that the device carries, which it does after it has turned its queue on."""
    end = time.monotonic() + DEADLINE
    while (left := end - time.monotonic()) > 0:
        news.settimeout(left)
        try:
            said = news.recv(CHUNK)
        except OSError:  # none came in time, or too many
            return
        _, kind, *_, found, flags, _ = LINK.unpack_from(said)
        if kind == RTM_NEWLINK and found == index and flags & IFF_RUNNING:
            return
