"""A bulk transfer over TCP, to be run in two namespaces: bulk.py receive|send ADDRESS PORT BYTES.

The sender sends pseudo-random bytes and both print the SHA-256 of what they sent or received.
"""

from __future__ import annotations

import hashlib
import random
import socket
import sys

PORTION = 1 << 16  # bytes
DEADLINE = 60.0  # seconds without progress
SEED = 1


def receive(address: str, port: int, size: int) -> str:
    """Accept one connection and read it to its end; return the hash, asserting the size."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as server:
        server.settimeout(DEADLINE)
        print("listening", flush=True)
        connection, _ = server.accept()
    digest, left = hashlib.sha256(), size
    with connection:
        connection.settimeout(DEADLINE)
        while data := connection.recv(PORTION):
            digest.update(data)
            left -= len(data)
    assert left == 0, f"{left} of {size} bytes are missing"
    return digest.hexdigest()


def send(address: str, port: int, size: int) -> str:
    """Connect and send; return the hash."""
    source, digest, left = random.Random(SEED), hashlib.sha256(), size
    with socket.create_connection((address, port), DEADLINE) as connection:
        while left:
            data = source.randbytes(min(PORTION, left))
            connection.sendall(data)
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


if __name__ == "__main__":
    print({"receive": receive, "send": send}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
