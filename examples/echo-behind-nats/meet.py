"""The meeting point: tells two peers that name the same room each other's public address, over UDP."""

import socket
import sys


def main(port: int) -> None:
    meeting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    meeting.bind(("0.0.0.0", port))
    waiting: dict[bytes, tuple[str, int]] = {}
    while True:
        room, peer = meeting.recvfrom(256)
        other = waiting.setdefault(room, peer)
        if other != peer:
            for one, its_other in ((peer, other), (other, peer)):
                meeting.sendto("{} {}".format(*its_other).encode(), one)
            waiting[room] = peer  # whoever asks again meets the one that asked last


if __name__ == "__main__":
    main(int(sys.argv[1]))
