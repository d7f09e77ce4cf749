"""A flood of handshakes: flood.py ADDRESS PORT PUBLIC_KEY BURST PAUSE SECONDS.

Sends initiations with a valid mac1 for PUBLIC_KEY (base64), from an identity that nobody knows, BURST of
them every PAUSE seconds, until SECONDS have passed. Prints DEMANDED when the first cookie reply comes back:
from then on the other side is under load.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import sys
import time

from ltk.protocol.cookie import MacWriter
from ltk.protocol.messages import (
    COOKIE_REPLY_SIZE,
    INITIATION_SIZE,
    Initiation,
    Kind,
    pack_initiation,
    pack_timestamp,
)
from ltk.protocol.noise import Initiator
from ltk.protocol.primitives import PrivateKey

DEMANDED = "a cookie is demanded"
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


def flood(target: tuple[str, int], train: bytes, burst: int, pause: float, seconds: float) -> None:
    """Send, and say when the first cookie reply has come."""
    end = time.monotonic() + min(seconds, MOST_SECONDS)
    option = (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", INITIATION_SIZE))
    demanded = False
    with socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(target)
        while time.monotonic() < end:
            for _ in range(min(burst, MOST_BURST) // TRAIN):
                sender.sendmsg([train], [option])
            time.sleep(pause)  # the rate of the flood
            if not demanded and _has_cookie_reply(sender):
                demanded = True
                print(DEMANDED, flush=True)


def _has_cookie_reply(receiver: socket.socket) -> bool:
    try:
        answer = receiver.recv(2048, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return len(answer) == COOKIE_REPLY_SIZE and answer[0] == Kind.COOKIE_REPLY


if __name__ == "__main__":
    address, port, key, burst, pause, seconds = sys.argv[1:]
    train = train_for(base64.b64decode(key))
    flood((address, int(port)), train, int(burst), float(pause), float(seconds))
