"""A stream of UDP datagrams, to be run in two namespaces: datagrams.py receive|send ADDRESS PORT SECONDS.

Each is answered, and no more than WINDOW are sent beyond the last one that was: whoever gets no turn for a
while overflows nobody's queue. The socket of a wireguard-go of 2022 has room for 277 of these, a TUN for 500.
What is missing then was lost on the way. Each side prints how many datagrams it has sent or received, and the
receiver which were missing or came twice.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections import Counter

SIZE = 250  # bytes
INTERVAL = 0.005  # seconds
WINDOW = 100  # datagrams
DEADLINE = 60.0  # seconds without anything
ASK_EVERY, ASKS = 0.1, 300  # seconds; whether all of it has arrived
_NUMBER = struct.Struct("!I")  # of a datagram; the first is 1
_END = _NUMBER.pack(0)


def receive(address: str, port: int, _seconds: int) -> str:
    """Count and answer until the sender asks."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    numbers: Counter[int] = Counter()
    with socket.socket(family, socket.SOCK_DGRAM) as inbox:
        inbox.bind((address, port))
        inbox.settimeout(DEADLINE)
        print("listening", flush=True)
        data, sender = inbox.recvfrom(SIZE)
        while data != _END:
            numbers[_NUMBER.unpack_from(data)[0]] += 1
            inbox.sendto(data[: _NUMBER.size], sender)
            data, sender = inbox.recvfrom(SIZE)
        inbox.sendto(_END, sender)
    last = max(numbers, default=0)
    missing = [number for number in range(1, last) if number not in numbers]
    twice = [number for number, count in numbers.items() if count > 1]
    return f"{len(numbers)}, without {missing}, twice {twice}"


def send(address: str, port: int, seconds: int) -> str:
    """Send for so long, and ask until there is an answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as outbox:
        outbox.connect((address, port))
        number = answered = 0
        due = time.monotonic()
        end = due + seconds
        while (now := time.monotonic()) < end:
            full = number - answered >= WINDOW
            if full or now < due:
                if select.select([outbox], [], [], DEADLINE if full else due - now)[0]:
                    answered = max(answered, *_NUMBER.unpack(outbox.recv(SIZE)))
                    continue
                assert not full, f"no answer of {address} to {WINDOW} datagrams from number {answered + 1}"
            number += 1
            outbox.send(_NUMBER.pack(number).ljust(SIZE))
            due = max(due + INTERVAL, now)
        for _ in range(ASKS):
            outbox.send(_END)
            while select.select([outbox], [], [], ASK_EVERY)[0]:
                if outbox.recv(SIZE) == _END:
                    return f"{number}, without [], twice []"
    raise AssertionError(f"no answer of {address} to {ASKS} questions")


if __name__ == "__main__":
    print({"receive": receive, "send": send}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
