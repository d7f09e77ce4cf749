"""A flood of handshakes: flood.py ADDRESS PORT PUBLIC_KEY BURST PAUSE SECONDS.

Sends initiations with a valid mac1 for PUBLIC_KEY (base64), from an identity that nobody knows, BURST of
them every PAUSE seconds, until SECONDS have passed.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import sys
import time

from ltk.protocol.cookie import MacWriter
from ltk.protocol.messages import INITIATION_SIZE, Initiation, pack_initiation, pack_timestamp
from ltk.protocol.noise import Initiator
from ltk.protocol.primitives import PrivateKey

MOST_BURST = 2048  # messages; the bounds of a flood on a machine that others share
MOST_SECONDS = 20.0
TRAIN = 32  # messages in one segmented send: they arrive faster than one by one
UDP_SEGMENT = 103  # linux/udp.h, absent from Python's socket module


def train_for(public_key: bytes) -> bytes:
    """Initiations back to back; each is one of its own, and they may be sent again and again."""
    identity = PrivateKey(os.urandom(32))
    shared, macs = identity.shared_with(public_key), MacWriter(public_key)
    messages = []
    for index in range(TRAIN):
        noise = Initiator(identity, public_key, PrivateKey(os.urandom(32)))
        parts = noise.write_initiation(shared, pack_timestamp(time.time_ns()))
        messages.append(macs.write(pack_initiation(Initiation(index, *parts)), 0.0))
    return b"".join(messages)


def flood(target: tuple[str, int], train: bytes, burst: int, pause: float, seconds: float) -> int:
    """Send; returns the number of messages."""
    end = time.monotonic() + min(seconds, MOST_SECONDS)
    trains = min(burst, MOST_BURST) // TRAIN
    sent = 0
    with socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(target)
        option = (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", INITIATION_SIZE))
        while time.monotonic() < end:
            for _ in range(trains):
                sender.sendmsg([train], [option])
            sent += trains * TRAIN
            time.sleep(pause)  # the rate of the flood
    return sent


if __name__ == "__main__":
    address, port, key, burst, pause, seconds = sys.argv[1:]
    print(
        flood(
            (address, int(port)), train_for(base64.b64decode(key)), int(burst), float(pause), float(seconds)
        )
    )
