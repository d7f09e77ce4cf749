"""The least that a tunnel in Python does: reads a packet, seals it, sends it, and the reverse. No protocol.

Run inside a namespace, with a TUN device, the UDP port of both ends and the other end's address. The key is
all zeros, every counter is taken for new, and nobody's address is checked: it is here to be measured.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

TUNSETIFF = 0x400454CA  # linux/if_tun.h, as the flags
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
ROOM = 2048  # bytes; more than an MTU
HEADER, TAG = 16, 16  # bytes; as WireGuard's data messages have them
BUFFER = 4 << 20  # bytes of the socket's queues, as ltk has them
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h


def main(device: str, port: int, peer: str) -> None:
    """Carry packets until killed."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        udp.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    udp.bind(("", port))
    cipher = ChaCha20Poly1305(bytes(32))
    seal, open_ = cipher.encrypt_into, cipher.decrypt_into
    nonce, header = struct.Struct("<4xQ").pack, struct.Struct("<IIQ")
    plain, sealed, arrived, opened = (memoryview(bytearray(ROOM)) for _ in range(4))
    target, counter = (peer, port), 0
    epoll = select.epoll()
    epoll.register(tun, select.EPOLLIN)
    epoll.register(udp, select.EPOLLIN)
    print("is ready", flush=True)
    while True:
        for descriptor, _ in epoll.poll():
            try:
                if descriptor == tun:
                    size = os.readv(tun, (plain,))
                    header.pack_into(sealed, 0, 4, 1, counter)
                    seal(nonce(counter), plain[:size], None, sealed[HEADER : HEADER + size + TAG])
                    counter += 1
                    udp.sendto(sealed[: HEADER + size + TAG], target)
                else:
                    size = udp.recv_into(arrived) - HEADER - TAG
                    _, _, number = header.unpack_from(arrived)
                    open_(nonce(number), arrived[HEADER : HEADER + size + TAG], None, opened[:size])
                    os.write(tun, opened[:size])
            except (OSError, InvalidTag):
                continue  # a queue is full, or the other end is not there yet


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
