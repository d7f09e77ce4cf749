"""A flood of UDP, to be run inside of a namespace: flood.py ADDRESS PORT SECONDS.

Datagrams of 1350 bytes, many to a call (UDP_SEGMENT) and 2 Gbit/s of them, which is more than a node takes.
The sender itself does not need the processor for that, which the nodes share. It ends by itself.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

SIZE = 1350  # bytes; with its headers it fits the tunnel's MTU
COUNT = 40  # datagrams in a call
CALLS = 5  # in a row
PAUSE = 0.001  # seconds after them
UDP_SEGMENT = 103  # linux/udp.h


def flood(address: str, port: int, seconds: float) -> None:
    """Send for so long."""
    end = time.monotonic() + seconds
    data = bytes(SIZE * COUNT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=i", SIZE))
        outward.connect((address, port))
        print("flooding", flush=True)
        while time.monotonic() < end:
            for _ in range(CALLS):
                outward.send(data)
            time.sleep(PAUSE)  # the pace of the flood


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
