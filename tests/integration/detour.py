"""A detour on a lab's internet: chosen packets leave the kernel, wait in this process, and go on.

So a single message of a single client can be late, where a link's delay would hold up all that crosses it.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from harness import Lab

from ltk.kernel import netns
from ltk.kernel.tuntap import CLONE_DEVICE, IFF_NO_PI, IFF_TUN, IFREQ, TUNSETIFF

DEVICE = "detour"
TABLE = "77"  # of routes, in the internet's namespace
LONGEST = 65536  # bytes; an IP packet
TARGET = slice(16, 20)  # of an IPv4 packet (RFC 791)
KIND = 28  # the first byte behind the headers of IPv4 and UDP: the kind of the message
RELAYED = 0x80

Hold = Callable[[bytes], float | None]  # seconds; None: it goes on at once, and does not count


@contextmanager
def detour(
    lab: Lab, source: str, targets: Iterable[str], hold: Hold, *, cable: str = "cloud"
) -> Iterator[Counter[str]]:
    """Hold back each packet from one underlay address to the others for `hold(packet)` seconds, or None.

    They come in by the `cable` of the source's site. What is not held is overtaken by nothing.
    The value counts, by target, those packets that were to be held.
    """
    held: Counter[str] = Counter()
    with netns.inside(lab.scope("internet")):
        device = os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, IFREQ.pack(DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_carry, args=(device, theirs, hold, held))
    try:
        for each in ("all", DEVICE):
            lab.run("internet", "sysctl", "-qw", f"net.ipv4.conf.{each}.rp_filter=0")
        lab.run("internet", "ip", "link", "set", DEVICE, "up")
        lab.run("internet", "ip", "route", "add", "default", "dev", DEVICE, "table", TABLE)
        thread.start()
        for target in targets:  # what comes back from the detour has come in by another device
            words = ["from", source, "to", target, "iif", cable, "lookup", TABLE]
            lab.run("internet", "ip", "rule", "add", *words)
        yield held
    finally:
        ours.close()
        if thread.is_alive():
            thread.join(10)
        theirs.close()
        os.close(device)


def _carry(device: int, stop: socket.socket, hold: Hold, held: Counter[str]) -> None:
    """Take packets and give them back when their time has come, until the other end of `stop` is closed."""
    waiting: list[tuple[float, int, bytes]] = []
    order = itertools.count()
    while True:
        until = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([device, stop], [], [], until)
        if stop in ready:
            return
        if device in ready:
            packet = os.read(device, LONGEST)
            if packet[0] >> 4 == 4:
                delay = hold(packet)
                heapq.heappush(waiting, (time.monotonic() + (delay or 0.0), next(order), packet))
                held[socket.inet_ntoa(packet[TARGET])] += delay is not None
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(device, heapq.heappop(waiting)[2])


def late_control(delays: dict[str, float]) -> Hold:
    """Hold back what a server itself says to the addresses, for so many seconds; not what it relays."""
    by_target = {socket.inet_aton(address): delay for address, delay in delays.items()}

    def hold(packet: bytes) -> float | None:
        return None if packet[KIND] == RELAYED else by_target[packet[TARGET]]

    return hold
