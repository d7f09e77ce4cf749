"""A TAP device's descriptor: whole Ethernet frames, each behind a virtio header, read without blocking.

How the kernel's tun driver answers:

    read, nothing there                        EAGAIN, also while the device is down
    write, device down                         EIO
    read or write after its deletion           EBADFD; EFAULT while it is being deleted
    epoll after its deletion                   EPOLLERR, for as long as the descriptor is open

Imports nothing heavy: the process that carries frames is forked many times over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from ltk.errors import BusyError, LtkError, MissingError
from ltk.kernel import netns, offloads

CLONE_DEVICE = "/dev/net/tun"

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
IFREQ = struct.Struct("16sH22x")  # struct ifreq of linux/if.h: name, flags

MAX_FRAME = 10 + 18 + 65535  # bytes: virtio header, Ethernet with a VLAN tag, the largest packet
GONE = {errno.EBADFD, errno.EFAULT}


def attach(namespace: str, name: str) -> int:
    """A descriptor of the existing, persistent TAP device `name` of `namespace`. Creates nothing.

    Raises LtkError when there is none, BusyError when another process holds it.
    """
    doing = f"attaching to the device {name} in {namespace}"
    with netns.inside(namespace):
        try:
            socket.if_nametoindex(name)  # the request below would make the device where it is missing
        except OSError:
            raise LtkError(doing, "it does not exist", hint="`ltk apply` makes it again.") from None
        try:
            descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MissingError(doing, f"{CLONE_DEVICE}: {error.strerror}") from error
        try:
            fcntl.ioctl(descriptor, TUNSETIFF, IFREQ.pack(name.encode(), FLAGS))
        except OSError as error:
            os.close(descriptor)
            if error.errno == errno.EBUSY:
                raise BusyError(doing, "another process holds it") from error
            raise LtkError(doing, str(error.strerror)) from error
    return descriptor


def set_offloads(descriptor: int, wanted: bool) -> None:
    """Whether bursts are read whole, as the sending stack made them, or as single finished packets.

    What the other end of a wire gives may be written in either case.
    """
    if wanted:
        offloads.turn_on(descriptor)
    else:
        offloads.set_exactly(descriptor, 0)
