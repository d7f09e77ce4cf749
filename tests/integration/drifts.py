"""What people and programs do to a lab that is up, each with how the network shows that it is undone."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import Lab, wait_for

FOUR = """
name: four
network: {subnet: 10.68.0.0/24}
nodes:
  hub: {role: server, address: 10.68.0.1}
  alice: {address: 10.68.0.2}
  bob: {address: 10.68.0.3}
  carol: {address: 10.68.0.4, routes: [192.168.78.0/24]}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
    office: {nat: symmetric, hosts: [bob]}
    cafe: {nat: full-cone, hosts: [carol]}
"""
CLIENTS, ROUTERS = ("alice", "bob", "carol"), ("home", "office", "cafe")
TUNNEL = {"alice": "10.68.0.2/24", "bob": "10.68.0.3/24", "carol": "10.68.0.4/24"}
HOST = dict(zip(ROUTERS, CLIENTS, strict=True))
UCRED = struct.Struct("3i")  # struct ucred of unix(7): process, user, group


@dataclass(frozen=True, slots=True)
class Drift:
    """Something done by hand in each of `places`, and what shows there that all is as before."""

    name: str
    places: Sequence[str]
    do: Callable[[Lab, str], object]
    is_undone: Callable[[Lab, str], bool]

    def undone_after(self, lab: Lab) -> tuple[float, ...]:
        """Do it in all places at once; returns the seconds after which each is as before."""
        for place in self.places:
            assert self.is_undone(lab, place), f"{self.name}: before that {place} is as it should be"
        done = {}
        for place in self.places:
            self.do(lab, place)
            done[place] = time.monotonic()
        after = {}

        def look() -> bool:
            for place in self.places:
                if place not in after and self.is_undone(lab, place):
                    after[place] = time.monotonic() - done[place]
            return len(after) == len(self.places)

        wait_for(look, f"this to be undone everywhere: {self.name}")
        return tuple(after.values())


def command(words: str) -> Callable[[Lab, str], object]:
    """Run in the place; `HOST` stands for the router's host, `ADDRESS` for the client's tunnel address."""

    def run(lab: Lab, place: str) -> object:
        filled = words.replace("HOST", HOST.get(place, "")).replace("ADDRESS", TUNNEL.get(place, ""))
        return lab.run(place, *filled.split())

    return run


def shows(words: str, wanted: str = "") -> Callable[[Lab, str], bool]:
    """Whether a command in the place prints that; with no words for it, whether it prints anything."""

    def look(lab: Lab, place: str) -> bool:
        printed = lab.run(place, *words.split(), check=False).stdout
        return wanted.replace("ADDRESS", TUNNEL.get(place, "")) in printed if wanted else bool(printed)

    return look


def shows_nothing(words: str) -> Callable[[Lab, str], bool]:
    return lambda lab, place: lab.run(place, *words.split()).stdout == ""


def rules(lab: Lab, place: str) -> list[str]:
    """The rules of the place's table, without what they have counted."""
    printed = lab.run(place, "nft", "-s", "list", "table", "inet", "ltk", check=False).stdout
    return [line.strip() for line in printed.splitlines() if " comment " in line or "policy" in line]


def has_its_rules(expected: dict[str, list[str]]) -> Callable[[Lab, str], bool]:
    """Whether the rules are those of the first look, which is taken by the first call."""

    def look(lab: Lab, place: str) -> bool:
        now = rules(lab, place)
        return bool(now) and expected.setdefault(place, now) == now

    return look


def listening_process(lab: Lab, place: str) -> int | None:
    """The process that answers at the control socket; None where nobody does."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(f"/run/ltk/{lab.name}/{place}.sock")
        except OSError:
            return None
        return int(UCRED.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))[0])


def daemon_is_another(before: dict[str, int]) -> Callable[[Lab, str], bool]:
    """Whether a daemon has the device again, and listens; after it was killed, another one."""

    def look(lab: Lab, place: str) -> bool:
        process = listening_process(lab, place)
        return process is not None and before.get(place) != process and ATTACHED(lab, place)

    return look


def kill(before: dict[str, int]) -> Callable[[Lab, str], object]:
    def do(lab: Lab, place: str) -> object:
        before[place] = lab.daemon_pid(place)
        return os.kill(before[place], signal.SIGKILL)

    return do


def remove_file(folder: str, suffix: str) -> Callable[[Lab, str], object]:
    return lambda lab, place: Path(folder, lab.name, f"{place}{suffix}").unlink()


def delete_namespace(lab: Lab, place: str) -> object:
    return subprocess.run(["ip", "netns", "del", lab.scope(place)], check=True)


ATTACHED = shows(
    "ip -o link show ltk0", "LOWER_UP"
)  # a TUN device to which nobody is attached has no carrier
RULES: dict[str, list[str]] = {}
KILLED: dict[str, int] = {}
IN_PLACE = (
    Drift(
        "route removed",
        CLIENTS,
        command("ip route del default dev eth0"),
        shows("ip route show default dev eth0"),
    ),
    Drift(
        "address removed",
        CLIENTS,
        command("ip address del ADDRESS dev ltk0"),
        shows("ip -4 -o address show dev ltk0", "ADDRESS"),
    ),
    Drift("device down", CLIENTS, command("ip link set ltk0 down"), shows("ip -o link show ltk0", ",UP")),
    Drift(
        "MTU changed",
        CLIENTS,
        command("ip link set ltk0 mtu 1300"),
        shows("ip -o link show ltk0", "mtu 1380"),
    ),
    Drift("TUN device deleted", CLIENTS, command("ip link del ltk0"), ATTACHED),
    Drift("cable deleted", CLIENTS, command("ip link del eth0"), shows("ip route show default dev eth0")),
    Drift(
        "route of ours added",
        CLIENTS,
        command("ip route add 192.0.2.0/24 dev ltk0 proto 108 metric 7"),
        shows_nothing("ip route show 192.0.2.0/24"),
    ),
    Drift("loopback down", CLIENTS, command("ip link set lo down"), shows("ip -o link show lo", ",UP")),
    Drift("bridge deleted", ROUTERS, command("ip link del lan"), shows("ip -o link show master lan")),
    Drift(
        "port out of its bridge",
        ROUTERS,
        command("ip link set HOST nomaster"),
        shows("ip -o link show master lan"),
    ),
    Drift("rules flushed", ROUTERS, command("nft flush table inet ltk"), has_its_rules(RULES)),
    Drift("rule added", ROUTERS, command("nft insert rule inet ltk forward drop"), has_its_rules(RULES)),
    Drift("table deleted", ROUTERS, command("nft delete table inet ltk"), has_its_rules(RULES)),
    Drift(
        "sysctl changed",
        ROUTERS,
        command("sysctl -q net.ipv4.ip_forward=0"),
        shows("sysctl net.ipv4.ip_forward", "= 1"),
    ),
    Drift("daemon killed", CLIENTS, kill(KILLED), daemon_is_another(KILLED)),
    Drift("control socket deleted", CLIENTS, remove_file("/run/ltk", ".sock"), daemon_is_another({})),
    Drift(
        "key file deleted",
        CLIENTS,
        remove_file("/var/lib/ltk", ".key"),
        lambda lab, place: Path("/var/lib/ltk", lab.name, f"{place}.key").exists(),
    ),
)
NAMESPACES = Drift("namespace deleted", CLIENTS, delete_namespace, ATTACHED)  # with what others have in it
