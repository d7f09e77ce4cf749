"""What is sent to a TUN device is carried as soon as a daemon has attached to it."""

from __future__ import annotations

import fcntl
import json
import select
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
from harness import DEADLINE, wait_for

from ltk.kernel import carrier, netns
from ltk.node.tun import Tun

TUNSETCARRIER = 0x400454E2  # linux/if_tun.h; an int follows: whether there is a carrier
LATE = 0.3  # seconds; for so long the kernel has its hands full
DEVICES = 60
UDP = 17  # at the tenth byte of an IPv4 packet


@pytest.fixture
def devices() -> Iterator[list[str]]:
    """Persistent devices that are up and that nobody has attached to, in a namespace of their own."""
    names = [f"tun{number}" for number in range(DEVICES)]
    lines = [
        f"tuntap add {name} mode tun\naddress add {outside(number, 1)}/24 dev {name}\nlink set {name} up"
        for number, name in enumerate(names)
    ]
    with netns.throwaway():
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        wait_for(lambda: running() == [], "the devices to be without carrier")
        yield names


def outside(device: int, host: int) -> str:
    return f"10.9.{device}.{host}"


def running() -> list[str]:
    """The devices that carry, as the kernel has it; `ip` says NO-CARRIER of one that is up and does not."""
    shown = json.loads(subprocess.check_output(["ip", "-j", "link"], text=True))
    up = [each for each in shown if "UP" in each["flags"]]
    return [each["ifname"] for each in up if "NO-CARRIER" not in each["flags"]]


def carries(tun: Tun, address: str) -> bool:
    """Whether the one datagram that is sent now arrives at whoever has attached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"first", (address, 9))
    packet = memoryview(bytearray(2048))
    while select.select([tun], [], [], LATE)[0]:
        while tun.read(packet) is not None:
            if packet[9] == UDP:
                return True
    return False


def test_nothing_is_lost_of_what_is_sent_at_once(devices: list[str]) -> None:
    lost = []
    for number, name in enumerate(devices):
        with closing(Tun.attach(name, Counter())) as tun:
            if not carries(tun, outside(number, 2)):
                lost.append(name)
    assert lost == []


def test_a_device_that_the_kernel_turns_on_late_is_awaited(devices: list[str]) -> None:
    """Late as on a machine whose devices are being changed: until then all that is sent is dropped."""
    with closing(Tun.attach(devices[0], Counter())) as first:
        fcntl.ioctl(first, TUNSETCARRIER, struct.pack("i", 0))
        wait_for(lambda: running() == [], "the device to be without carrier")
        assert not carries(first, outside(0, 2))
        on = threading.Timer(LATE, lambda: fcntl.ioctl(first, TUNSETCARRIER, struct.pack("i", 1)))
        with carrier.awaited(devices[0]):
            on.start()
        carried = carries(first, outside(0, 3))
        on.join(DEADLINE)
    assert carried, "what was sent is lost"


def test_a_device_that_is_down_is_not_awaited(devices: list[str]) -> None:
    subprocess.run(["ip", "link", "set", devices[0], "down"], check=True)
    with closing(Tun.attach(devices[0], Counter())) as tun:
        subprocess.run(["ip", "link", "set", devices[0], "up"], check=True)
        assert carries(tun, outside(0, 2))
