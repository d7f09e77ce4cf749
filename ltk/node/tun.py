"""One TUN device: whole IP packets, read and written without ever blocking.

With offloads, each lies behind a virtio header (see protocol.vnet), and the kernel hands over and takes
super-packets.

Devices are made, set up and removed by the reconciler; the daemon only attaches to one that exists.
How the kernel's tun driver answers, which the rest follows from:

    read, nothing there                         EAGAIN, also while the device is down
    write, device down                          EIO
    read or write after the device was deleted  EBADFD; EFAULT while it is being deleted
    epoll after the device was deleted          EPOLLERR, for as long as the descriptor is open

A system call that a signal interrupts is made again by Python itself (PEP 475).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
from collections import Counter
from pathlib import Path

from ltk.errors import BusyError, LtkError, MissingError
from ltk.kernel import carrier, offloads
from ltk.protocol.messages import Buffer
from ltk.protocol.vnet import VNET_SIZE

CLONE_DEVICE = Path("/dev/net/tun")

# linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNGETIFF = 0x800454D2
TUNSETVNETHDRSZ = 0x400454D8
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_PERSIST = 0x0800
IFREQ = struct.Struct("16sH22x")  # struct ifreq of linux/if.h: name, flags
NAME_LIMIT = 15  # bytes; IFNAMSIZ less its final zero

_APPLY = "`ltk apply` makes it again."

DOWN = "device-down"  # written while the device was down
FULL = "device-full"  # the kernel had no room for it
REFUSED = "device-refused"  # the kernel took it for no IP packet

_WRITE_DROPS = {
    errno.EIO: DOWN,
    errno.EAGAIN: FULL,
    errno.ENOBUFS: FULL,
    errno.ENOMEM: FULL,
    errno.EINVAL: REFUSED,
    errno.EMSGSIZE: REFUSED,
}


class DeviceGoneError(LtkError):
    """The device is not there (any more); it is the reconciler that can bring it back."""


class Tun:
    """An attached device. `drops` counts, by reason, the packets that the kernel did not take.

    `offloads` are those that are on, as TUN_F_ bits; None where packets have no virtio headers.
    """

    __slots__ = ("_descriptor", "drops", "name", "offloads")

    def __init__(self, name: str, descriptor: int, drops: Counter[str], offloads: int | None = None) -> None:
        self.name = name
        self.drops = drops
        self.offloads = offloads
        self._descriptor = descriptor

    @classmethod
    def attach(cls, name: str, drops: Counter[str], *, with_headers: bool = False) -> Tun:
        """Attach to the existing, persistent device `name` of the current namespace.

        If it is up, what is sent to it from then on is carried. With `with_headers`, packets lie behind
        virtio headers, and what the kernel has of offloads is on.
        Raises DeviceGoneError when there is none, BusyError when another process holds it,
        MissingError without TUN support or the privilege. Creates nothing.
        """
        doing = f"attaching to the device {name}"
        index = _index(name, doing)
        try:
            descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MissingError(
                doing, f"{CLONE_DEVICE}: {error.strerror}", hint="It needs root and the kernel module tun."
            ) from None
        try:
            with carrier.awaited(name):
                _set_interface(descriptor, name, doing, IFF_VNET_HDR if with_headers else 0)
            _, flags = IFREQ.unpack(fcntl.ioctl(descriptor, TUNGETIFF, bytes(IFREQ.size)))
            # Had the device been deleted since we looked, the kernel would have made another one for
            # us; that one is not persistent and goes again as the descriptor is closed.
            if not flags & IFF_PERSIST or _index(name, doing) != index:
                raise DeviceGoneError(doing, "it was deleted meanwhile", hint=_APPLY)
            if with_headers:
                turned_on: int | None = offloads.turn_on(descriptor)
            else:
                turned_on = None
                offloads.set_exactly(descriptor, 0)  # the device keeps those of the daemon before
        except LtkError:
            os.close(descriptor)
            raise
        return cls(name, descriptor, drops, turned_on)

    def fileno(self) -> int:
        """The descriptor to wait at."""
        return self._descriptor

    def read(self, into: memoryview) -> int | None:
        """Read one packet into `into` and return its length; None when there is none now.

        Raises DeviceGoneError.
        """
        try:
            return os.readv(self._descriptor, (into,))
        except BlockingIOError:
            self._nothing_now()
            return None
        except OSError as error:
            raise self._gone("reading from", error) from None

    def write(self, packet: Buffer) -> bool:
        """Hand one packet to the kernel; False when it was dropped and counted.

        Raises DeviceGoneError.
        """
        try:
            os.write(self._descriptor, packet)
        except OSError as error:
            reason = _WRITE_DROPS.get(error.errno or 0)
            if reason is None:
                raise self._gone("writing to", error) from None
            self.drops[reason] += 1
            return False
        return True

    def close(self) -> None:
        """Let go of the device, which stays. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _nothing_now(self) -> None:
        """A read that would block is the normal end of reading."""

    def _gone(self, verb: str, error: OSError) -> DeviceGoneError:
        return DeviceGoneError(f"{verb} the device {self.name}", error.strerror or str(error), hint=_APPLY)


def _index(name: str, doing: str) -> int:
    if not 0 < len(os.fsencode(name)) <= NAME_LIMIT:
        raise DeviceGoneError(doing, f"a device's name has 1 to {NAME_LIMIT} bytes")
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise DeviceGoneError(doing, "it does not exist in this namespace", hint=_APPLY) from None


def _set_interface(descriptor: int, name: str, doing: str, flags: int) -> None:
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, IFREQ.pack(os.fsencode(name), IFF_TUN | IFF_NO_PI | flags))
        if flags & IFF_VNET_HDR:
            fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, VNET_SIZE.to_bytes(4, sys.byteorder))
    except OSError as error:
        match error.errno:
            case errno.EBUSY:
                raise BusyError(doing, "another process is attached to it") from None
            case errno.EPERM:
                raise MissingError(
                    doing, "permission denied", hint="It needs CAP_NET_ADMIN: run it as root."
                ) from None
            case errno.EINVAL:
                raise LtkError(doing, "it is not a single-queue TUN device") from None
            case _:
                raise LtkError(doing, error.strerror or str(error)) from None
