"""A peer: meets another in a room, punches through both NATs, says a line and prints what it hears."""

import socket
import sys
import time

DEADLINE = 8.0  # seconds
PAUSE = 0.1  # seconds between two tries; a NAT may take the first for an attack, and the other has to try too


def talk(meeting_point: tuple[str, int], room: str, line: str) -> str | None:
    """What the other peer in the room has said; None if it was not heard in time."""
    end = time.monotonic() + DEADLINE
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.settimeout(PAUSE)
    other: tuple[str, int] | None = None
    heard: str | None = None
    acknowledged = False
    while time.monotonic() < end and not (heard and acknowledged):
        peer.sendto(room.encode(), meeting_point)
        if other is not None:
            peer.sendto(f"{'ok' if heard else 'hi'} {line}".encode(), other)
        try:
            data, source = peer.recvfrom(2048)
        except TimeoutError:
            continue
        if source == meeting_point:
            host, port = data.decode().split()
            other = (host, int(port))
        elif source == other:
            word, _, heard = data.decode().partition(" ")
            acknowledged = acknowledged or word == "ok"
            peer.sendto(f"ok {line}".encode(), other)
    return heard


if __name__ == "__main__":
    host, port, room, line = sys.argv[1:]
    answer = talk((host, int(port)), room, line)
    if answer is None:
        sys.exit(f"nobody was heard in the room {room}")
    print(answer)
