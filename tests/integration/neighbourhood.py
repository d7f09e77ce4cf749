"""Things of others, beside those of a lab and with names and numbers much like theirs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2s
from pathlib import Path

from harness import Lab

BESIDE = (  # in a namespace of ltk's
    "ip link add ltk1 type bridge",
    "sysctl -q net.ipv6.conf.ltk1.disable_ipv6=1",  # which would go on by itself
    "ip link set ltk1 up group 27763",
    "ip link property add dev ltk1 altname ltk-NAME-home",
    "ip address add 10.99.0.1/24 dev ltk1",
    "ip route add 10.98.0.0/16 via 10.99.0.9 proto 109",
    "ip route add default via 10.99.0.9 metric 50",
    "ip route add blackhole 10.96.0.0/16",
    "ip rule add pref 500 from 10.99.0.0/16 lookup 77",
    "ip route add 10.97.0.0/16 dev ltk1 table 77 proto 108",
    "nft add table inet ltk2",
    "nft 'add chain inet ltk2 mine { type filter hook forward priority 5; }'",
    "nft 'add rule inet ltk2 mine accept comment \"ltk\"'",
    "nft add table ip ltk",
)
ELSEWHERE = (  # in a namespace that is not ltk's, with ltk's own marks
    "ip link set lo up",
    "ip link add ltk0 type bridge",
    "sysctl -q net.ipv6.conf.ltk0.disable_ipv6=1",
    "ip link set ltk0 up group 27764",
    "ip link property add dev ltk0 altname ltk.NAME.alice altname ltk.NAME.alice.eth0",
    "ip address add 10.99.0.1/24 dev ltk0",
    "ip route add 10.98.0.0/16 via 10.99.0.9 proto 108",
    "ip rule add pref 500 from 10.99.0.0/16 lookup 77",
    "ip route add 10.97.0.0/16 dev ltk0 table 77 proto 108",
    "nft add table inet ltk",
    "nft 'add chain inet ltk forward { type filter hook forward priority 0; }'",
    "nft 'add rule inet ltk forward counter'",
)
SHOWN_BESIDE = (
    "ip -j address show dev ltk1",
    "ip -j route show dev ltk1 table all",
    "ip -j route show type blackhole",
    "ip -j rule",
    "nft list table inet ltk2",
    "nft list table ip ltk",
)
SHOWN_ELSEWHERE = (
    "ip -j link",
    "ip -j address",
    "ip -j route show table all",
    "ip -j -6 rule",
    "ip -j rule",
    "nft list ruleset",
)
FOLDERS = (Path("/run/ltk"), Path("/var/lib/ltk"))


def settled(shown: str) -> str:
    """Without whether a bridge that has no ports carries anything, which the kernel says some time later."""
    return re.sub(r'"(flags|operstate)":(\[[^]]*\]|"[A-Z]+")', "", shown)


def put_beside(lab: Lab, place: str) -> None:
    """Things of others in a namespace of the lab."""
    for words in BESIDE:
        lab.run(place, "sh", "-c", words.replace("NAME", lab.name))


def beside(lab: Lab, places: Sequence[str]) -> dict[tuple[str, str], str]:
    """They, byte by byte."""
    return {
        (place, words): settled(lab.run(place, *words.split()).stdout)
        for place in places
        for words in SHOWN_BESIDE
    }


@contextmanager
def namespaces_of_others(lab: Lab) -> Iterator[Callable[[], dict[tuple[str, str], str]]]:
    """Namespaces that are called much like the lab's; the value, called, is all that is in them."""
    names = [f"ltk-{lab.name}-mine", f"ltk-{lab.name}-aliceX", f"ltk-{lab.name}2-alice", "ltkx", "ltk-x"]
    inside = ["ip", "netns", "exec"]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            for words in ELSEWHERE:
                command = [*inside, name, "sh", "-c", words.replace("NAME", lab.name)]
                subprocess.run(command, check=True)

        def look() -> dict[tuple[str, str], str]:
            return {
                (name, words): settled(subprocess.check_output([*inside, name, *words.split()], text=True))
                for name in names
                for words in SHOWN_ELSEWHERE
            }

        yield look
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def files_of(topology: str) -> dict[tuple[str, str], str]:
    """The files of a topology by what is in them; a socket, and what daemons go on writing, by its name."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((folder / topology).rglob("*")):
            fixed = path.is_file() and path.suffix != ".log" and path.name != "lock"
            found[topology, str(path)] = blake2s(path.read_bytes()).hexdigest() if fixed else ""
    return found
