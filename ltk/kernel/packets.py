"""Packets as they pass a device, by a packet socket (packet(7)), with the kernel's own time of each.

The socket is opened inside the device's namespace and works from outside of it. What the kernel hands over
is what its stack has at that moment: a burst that a device would cut is one super-packet, and says so.

How the kernel's packet sockets answer:

    read, nothing there                        EAGAIN
    read, after the device went down           ENETDOWN, once; it goes on when the device is up again
    read, after the device's deletion          ENETDOWN, once; then nothing ever more
    read, a kind of burst that it has no       EINVAL, and the packet is gone
    virtio header for (UDP before Linux 6.2)
"""

from __future__ import annotations

import errno
import socket
import struct
from enum import IntEnum
from typing import NamedTuple

from ltk.errors import InvalidInputError, LtkError, MissingError
from ltk.kernel import netns

# linux/if_packet.h
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_VNET_HDR = 15
PACKET_OUTGOING = 4
STATISTICS = struct.Struct("=II")  # struct tpacket_stats: packets, drops; reading it sets both to zero

# linux/if_ether.h, asm-generic/socket.h
ETH_P_ALL = 0x0003
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
TIMESPEC = struct.Struct("@ll")  # struct timespec: seconds, nanoseconds

# linux/if_arp.h
ARPHRD_ETHER, ARPHRD_LOOPBACK, ARPHRD_NONE = 1, 772, 65534

VIRTIO = struct.Struct(
    "<BBHHHH"
)  # struct virtio_net_hdr: flags, GSO type, header, segment size, start, offset
MAX_FRAME = VIRTIO.size + 18 + 65535  # bytes: with a VLAN tag, the largest packet
RECEIVE_BUFFER = 16 << 20  # bytes, of kernel memory; some ten thousand packets
NANOSECONDS = 1_000_000_000  # in a second


class Link(IntEnum):
    """What a captured packet begins with; the numbers are those of capture files (LINKTYPE_…)."""

    ETHERNET = 1
    IP = 101


_LINKS = {ARPHRD_ETHER: Link.ETHERNET, ARPHRD_LOOPBACK: Link.ETHERNET, ARPHRD_NONE: Link.IP}


class Packet(NamedTuple):
    """One packet at a device."""

    time: int  # nanoseconds since 1970, when the kernel had it
    outgoing: bool
    data: bytes
    length: int  # bytes that it had; more than `data` where it was cut off
    segment: int  # payload bytes of each segment of a super-packet; 0: it is none


def devices(scope: str) -> list[str]:
    """The devices of a namespace, in the kernel's order."""
    with netns.inside(scope):
        return [name for _, name in socket.if_nameindex()]


class PacketSocket:
    """Hears everything that passes one device, in both directions, from its making until `close`."""

    def __init__(self, scope: str, device: str) -> None:
        """Raises InvalidInputError where there is no such device, MissingError without the privilege."""
        self._doing = f"capturing at {device}{f' in {scope}' if scope else ''}"
        self._buffer = bytearray(MAX_FRAME)
        self._view = memoryview(self._buffer)
        self._dropped = 0
        with netns.inside(scope):
            try:
                # deaf until it is bound: of other devices it must not hear anything
                self._socket = socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
                )
            except PermissionError as error:
                raise MissingError(self._doing, str(error.strerror), hint="Run it as root.") from None
        try:
            self.link = self._bind(device)
        except OSError as error:
            self._socket.close()
            if error.errno == errno.ENODEV:
                hint = f"There are: {', '.join(devices(scope))}"
                raise InvalidInputError(self._doing, "there is no such device", hint=hint) from None
            raise LtkError(self._doing, str(error.strerror)) from None
        except LtkError:
            self._socket.close()
            raise

    def _bind(self, device: str) -> Link:
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # root of a user namespace has what net.core.rmem_max allows
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self._socket.bind((device, ETH_P_ALL))
        kind = self._socket.getsockname()[3]
        # the kernel's loop sends each packet to itself: it is shown once, as it arrives
        self._is_loop = kind == ARPHRD_LOOPBACK
        if kind not in _LINKS:
            raise LtkError(self._doing, f"its kind of link ({kind}) is not known")
        return _LINKS[kind]

    def fileno(self) -> int:
        """The descriptor, to wait for packets with."""
        return self._socket.fileno()

    def read(self) -> Packet | None:
        """The next packet; None when there is none for now.

        Raises LtkError when the device has gone down or away; it may be read on afterwards.
        """
        while True:
            try:
                size, ancillary, _, address = self._socket.recvmsg_into(
                    [self._buffer], socket.CMSG_SPACE(TIMESPEC.size), socket.MSG_TRUNC
                )
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errno.EINVAL:
                    self._dropped += 1
                    continue
                raise LtkError(self._doing, str(error.strerror)) from None
            outgoing = address[2] == PACKET_OUTGOING
            if outgoing and self._is_loop:
                continue
            return self._packet(size, TIMESPEC.unpack(ancillary[0][2]), outgoing)

    def _packet(self, size: int, time: tuple[int, int], outgoing: bool) -> Packet:
        _, gso, _, segment, _, _ = VIRTIO.unpack_from(self._buffer)
        return Packet(
            time[0] * NANOSECONDS + time[1],
            outgoing,
            bytes(self._view[VIRTIO.size : size]),
            size - VIRTIO.size,
            segment if gso else 0,
        )

    def dropped(self) -> int:
        """How many packets have passed so far that this socket had no room for, or could not read."""
        self._dropped += STATISTICS.unpack(self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        return self._dropped

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()
