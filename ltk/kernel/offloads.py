"""What the kernel can do for many packets at once: super-packets at devices, bursts at UDP sockets.

Imports nothing heavy, as `tap`.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket

# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 0x01, 0x02, 0x04, 0x08
TUN_F_USO4, TUN_F_USO6 = 0x20, 0x40  # since Linux 6.2
TCP = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
TCP_AND_UDP = TCP | TUN_F_USO4 | TUN_F_USO6

# linux/udp.h
UDP_SEGMENT = 103
UDP_GRO = 104


def turn_on(descriptor: int) -> int:
    """Turn on as many offloads of a TUN or TAP device as the kernel has: return TCP_AND_UDP, TCP or 0."""
    return next((wanted for wanted in (TCP_AND_UDP, TCP) if set_exactly(descriptor, wanted)), 0)


def set_exactly(descriptor: int, offloads: int) -> bool:
    """Turn on these offloads of a device and all others off; return whether the kernel did."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, offloads)
        return True
    return False


def set_udp(bound: socket.socket, option: int, value: int) -> bool:
    """Set UDP_SEGMENT or UDP_GRO of a socket; return whether the kernel has it."""
    with contextlib.suppress(OSError):
        bound.setsockopt(socket.IPPROTO_UDP, option, value)
        return True
    return False
