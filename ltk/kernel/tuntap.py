"""Persistent TUN and TAP devices: made here and by nobody else; the processes only attach to them.

A device that outlives its process keeps its addresses and routes while the process is started anew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence

from ltk.errors import InTheWayError, LtkError, MissingError
from ltk.kernel import messages, netns, offloads, tap
from ltk.kernel.netlink import Netlink

CLONE_DEVICE = "/dev/net/tun"
TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB  # linux/if_tun.h
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR, IFF_TUN_EXCL = 0x0001, 0x1000, 0x4000, 0x8000
IFREQ = struct.Struct("16sH22x")


def create(namespace: str | None, name: str, then: Sequence[messages.Request]) -> None:
    """Make the TUN device `name`, as of `_create`."""
    _create(namespace, name, IFF_TUN | IFF_NO_PI, then)


def create_tap(namespace: str | None, name: str, then: Sequence[messages.Request]) -> None:
    """Make the TAP device `name`, as of `_create`; its frames will have virtio headers."""
    _create(namespace, name, tap.FLAGS, then)


def _create(namespace: str | None, name: str, flags: int, then: Sequence[messages.Request]) -> None:
    """Make the device `name`, run the requests `then` on it, and only then make it persistent.

    Until that last step the device goes with this process, so that no unmarked one can stay behind.
    """
    doing = f"creating the {'TUN' if flags & IFF_TUN else 'TAP'} device {name}"
    with netns.inside(namespace):
        descriptor = _open(doing)
        try:
            fcntl.ioctl(descriptor, TUNSETIFF, IFREQ.pack(name.encode(), flags | IFF_TUN_EXCL))
            with Netlink.open() as netlink:
                netlink.run([messages.set_link(name, group=messages.GROUP), *then])
            fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise InTheWayError(doing, "a device of that name exists") from error
            if error.errno == errno.EPERM:
                raise MissingError(doing, str(error.strerror), hint="Run it as root.") from error
            raise LtkError(doing, str(error.strerror)) from error
        finally:
            os.close(descriptor)


def try_offloads(name: str) -> int:
    """Make the TUN device `name` for a moment; return those of the offloads that the kernel has for it."""
    doing = f"trying the TUN device {name}"
    descriptor = _open(doing)
    try:
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL
        fcntl.ioctl(descriptor, TUNSETIFF, IFREQ.pack(name.encode(), flags))
        return offloads.turn_on(descriptor)
    except OSError as error:
        raise LtkError(doing, str(error.strerror)) from error
    finally:
        os.close(descriptor)


def require() -> None:
    """Raise MissingError where this machine gives us no TUN devices. Makes none."""
    os.close(_open("looking for TUN devices"))


def _open(doing: str) -> int:
    try:
        return os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        hint = f"The kernel needs TUN support (CONFIG_TUN) and the node {CLONE_DEVICE}; see: ltk doctor"
        if isinstance(error, PermissionError):
            hint = (
                f"It is for root alone here; elsewhere it is for everybody. As root: chmod 666 {CLONE_DEVICE}"
            )
        raise MissingError(doing, f"{CLONE_DEVICE}: {error.strerror}", hint=hint) from error
