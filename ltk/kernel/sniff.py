"""A socket that sees every IP packet of a device, in both directions: packet(7)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from ltk.errors import LtkError
from ltk.kernel import netns

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD  # linux/if_ether.h
PACKET_OUTGOING = 4  # linux/if_packet.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; for whom the machine's limit does not hold
BUFFER = 8 << 20  # bytes; some thousand packets, until somebody reads


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet, from its IP header on. A burst that the kernel keeps whole is one packet here."""

    outgoing: bool
    data: bytes


class Sniffer:
    """Sees what passes the device from now on, until it is closed."""

    def __init__(self, scope: str, device: str) -> None:
        """Look at `device` in the namespace `scope`. Raises LtkError where there is none."""
        with netns.inside(scope):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
                self._socket.bind((device, ETH_P_ALL))
            except OSError as error:
                self._socket.close()
                said = os.strerror(error.errno) if error.errno else str(error)
                raise LtkError(f"looking at the packets of {device} in {scope}", said) from None

    def fileno(self) -> int:
        """The descriptor, which is readable when there are packets."""
        return self._socket.fileno()

    def take(self) -> Iterator[Seen]:
        """The packets that nobody has taken yet, in their order; does not wait for more."""
        while True:
            try:
                data, (_, protocol, kind, *_) = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # the device is down; what comes when it is up is seen
                    raise
                continue
            if protocol in (ETH_P_IP, ETH_P_IPV6):
                yield Seen(kind == PACKET_OUTGOING, data)

    def close(self) -> None:
        """Look no more."""
        self._socket.close()

    def __enter__(self) -> Sniffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
