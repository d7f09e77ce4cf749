"""Machines of their own, as far as ltk can tell: network, processes, host name, /run and keys; and cables.

They are joined by the test with plain veths, and routers of the test's own making translate between them.
Nothing of it is ltk's: a lab of ltk's would prove real hosts with the very code that they are about.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import REPOSITORY, wait_for

HOLDER = (
    "mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock && mkdir -p /var/lib/ltk &&"
    " mount -t tmpfs tmpfs /var/lib/ltk && mount -t tmpfs tmpfs /etc/systemd/system && mount -t sysfs sysfs"
    " /sys && echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad &&"  # no address is ever tentative
    ' hostname "$0" && ip link set lo up && echo up && exec sleep 3600'
)
# The first process of a machine: it takes in whoever has lost its parent, as any init does.
INIT = (
    "import signal, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
    " print('up', flush=True); time.sleep(3600)"
)
STATE = {  # what a machine is, as far as the kernel tells
    "links": "ip -o -d link",
    "addresses": "ip -o address",
    "routes": "ip -4 route show table all",
    "routes6": "ip -6 route show table all",
    "rules": "ip rule; ip -6 rule",
    "nftables": "nft list ruleset",
    "sysctls": "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    " /proc/sys/net/ipv4/conf/all/src_valid_mark",
    "files": "find /run/ltk /var/lib/ltk /etc/systemd/system | sort; true",
}


class Machine:
    """One machine. Between `boot` and `halt` it has processes; its network lasts as long as the object."""

    def __init__(self, name: str) -> None:
        self.name = name
        isolation = ["--net", "--mount", "--uts", "--propagation", "private"]
        self._holder = started(["unshare", *isolation, "sh", "-c", HOLDER, name])
        self._init: subprocess.Popen[str] | None = None
        self.boot()

    def boot(self) -> None:
        """Have a first process, and nothing in /run."""
        outside = ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "-u"]
        fresh = "umount /run; mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock"
        subprocess.run([*outside, "sh", "-c", fresh], check=True)
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *self.first_process()]
        self._init = started([*outside, *inside])

    def first_process(self) -> list[str]:
        """The command of it; it prints `up`, and lasts as long as the machine."""
        return [sys.executable, "-c", INIT]

    def halt(self) -> None:
        """Kill every process at once, and take away what a boot takes: all that is only in the kernel.

        The cables stay, and with them their addresses and routes, as a machine's own network manager would
        make them again.
        """
        if self._init is not None:
            os.kill(self._pid(), signal.SIGKILL)
            self._init.wait(10)
            self._init = None
        outside = ["nsenter", "-t", str(self._holder.pid), "-n"]
        script = (
            "for d in $(ip -o link show group 27764 | cut -d: -f2); do ip link del $d; done;"
            " nft flush ruleset;"
            " for f in -4 -6; do ip $f rule show | grep 'proto 108' | cut -d: -f1 |"
            " while read p; do ip $f rule del pref $p; done; done;"
            " sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.src_valid_mark=0"
        )
        subprocess.run([*outside, "sh", "-c", script], check=True)

    def end(self) -> None:
        """Away with it."""
        for process in (self._init, self._holder):
            if process is not None:
                process.kill()
                process.wait(10)

    def _pid(self) -> int:
        """The first process, by the number that it has out here."""
        assert self._init is not None, "it is halted"
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        return int(wait_for(children.read_text, "the first process of a machine").split()[0])

    def command(self, *words: str) -> list[str]:
        """The command `words`, to be run on this machine."""
        environment = ["env", f"PYTHONPATH={REPOSITORY}", f"PATH=/run/bin:{os.environ['PATH']}"]
        return ["nsenter", "-t", str(self._pid()), "-n", "-m", "-p", "-u", *environment, *words]

    def run(self, *words: str, status: int | None = 0, timeout: float = 90) -> str:
        """Run a command here; asserts its exit status (None: any) and returns what it printed."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=timeout, check=False
        )
        said = f"{self.name}: {' '.join(words)}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, said
        assert status is None or done.returncode == status, said
        return done.stdout if status is not None else done.stdout + done.stderr

    def ltk(self, *words: str, **keywords: Any) -> str:
        """Run ltk here, as a user does."""
        return self.run(sys.executable, "-m", "ltk", *words, **keywords)

    def apply(self, file: Path, *words: str) -> dict[str, Any]:
        """`ltk apply` of a file; returns the JSON that it prints."""
        printed: dict[str, Any] = json.loads(self.ltk("apply", str(file), *words, "-o", "json"))
        return printed

    def key(self, topology: str) -> str:
        """This machine's public key, made if need be."""
        return str(
            json.loads(self.ltk("keygen", "--for", f"{topology}/{self.name}", "-o", "json"))["public_key"]
        )

    def peers(self, topology: str) -> dict[str, dict[str, Any]]:
        """What its daemon says of its peers, by their names."""
        (node,) = json.loads(self.ltk("status", topology, "-o", "json"))["nodes"]
        return {peer["name"]: peer for peer in node["peers"]}

    def ping(self, target: str, count: int = 3, interval: float = 0.1) -> int:
        """How many of so many echo requests are answered; late answers are waited for.

        With its deadline ping goes on sending until it has its count: what it sent in excess does not count.
        """
        patience = math.ceil(count * interval) + 10
        words = ["ping", "-n", "-c", str(count), "-i", str(interval), "-w", str(patience), target]
        answers = re.findall(
            r"bytes from .*icmp_seq=(\d+) ", self.run(*words, status=None, timeout=patience + 60)
        )
        return len({int(number) for number in answers if int(number) <= count})

    def reaches(self, target: str) -> bool:
        """Whether an echo request is answered."""
        return self.run("ping", "-n", "-c", "1", "-W", "2", target, status=None).count("bytes from") > 0

    def play_systemd(self) -> None:
        """Have it look as if systemd ran here, and have the tests' own `systemctl` do what units say."""
        played = Path(__file__).with_name("played_systemd.py")
        self.run("mkdir", "-p", "/run/systemd/system", "/run/bin")
        self.run("ln", "-sf", str(played), "/run/bin/systemctl")

    def state(self) -> dict[str, str]:
        """All that ltk could have changed here."""
        found = {name: self.run("sh", "-c", script) for name, script in STATE.items()}
        return {
            name: re.sub(r"(valid_lft|preferred_lft|expires) \d+sec", "", text)
            for name, text in found.items()
        }

    def counter(self, name: str) -> int:
        """Packets by a counter of the test's own table."""
        listed = json.loads(self.run("nft", "-j", "list", "counter", "inet", "test", name))["nftables"]
        return next(each["counter"]["packets"] for each in listed if "counter" in each)

    def daemons(self) -> list[int]:
        """The processes that have ltk's devices open, by their numbers in here."""
        look = "ls -l $p/fd 2>/dev/null | grep -q /dev/net/tun && echo ${p#/proc/}"
        listed = self.run("sh", "-c", f"for p in /proc/[0-9]*; do {look}; done; true")
        return [int(word) for word in listed.split()]

    def runs(self, module: str) -> bool:
        """Whether a process runs that was started as this module."""
        look = "tr '\\0' '\\n' < $p/cmdline 2>/dev/null"
        listed = self.run("sh", "-c", f"for p in /proc/[0-9]*; do {look}; done; true")
        return module in listed.splitlines()

    def network(self, *commands: str) -> None:
        """Run these words of `ip` here, or of another program where they begin with one."""
        for command in commands:
            words = command.split()
            self.run(*(words if words[0] in ("nft", "sysctl", "ip") else ["ip", *words]))

    def wire(self, own: str, other: Machine, theirs: str) -> None:
        """A cable from here to another machine; both ends are up."""
        ends = ["netns", str(self._holder.pid), "type", "veth", "peer", "name", theirs]
        outside = ["nsenter", "-t", str(self._holder.pid), "-n"]
        words = ["ip", "link", "add", own, *ends, "netns", str(other._holder.pid)]
        subprocess.run([*outside, *words], check=True)
        self.network(f"link set {own} up")
        other.network(f"link set {theirs} up")

    def load(self, rules: str) -> None:
        """Load a rule set of the test's own."""
        subprocess.run(self.command("nft", "-f", "-"), input=rules, text=True, check=True)


@contextmanager
def machines(names: Sequence[str], **kinds: type[Machine]) -> Iterator[dict[str, Machine]]:
    """Machines by these names for as long as the body takes; `kinds`: those that are special ones."""
    made: dict[str, Machine] = {}
    try:
        for name in names:
            made[name] = kinds.get(name, Machine)(name)
        yield made
    finally:
        for each in made.values():
            each.end()


def started(words: list[str]) -> subprocess.Popen[str]:
    """Start a program, which says `up` when it is."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "up\n", f"{words} did not come up"
    return process
