"""What people and programs do to a real host that is up, each with what shows there that it is undone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from difflib import unified_diff

from harness import wait_for
from real_machines import Machine

SHOWN = {  # what is ltk's of a machine, in the kernel's own words
    "device": "ip -o link show ltk-trio | grep -o '<.*>\\|mtu [0-9]*'",
    "addresses": "ip -o address show dev ltk-trio scope global | cut -c 4-",
    "routes": "for f in -4 -6; do ip $f route show table all dev ltk-trio proto 108 | sort; done",
    "rules": "ip rule show | grep 'proto 108'; ip -6 rule show | grep 'proto 108'",
    "table": "nft -s list table inet ltk-trio",
    "settings": "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    " /proc/sys/net/ipv4/conf/all/src_valid_mark",
    "files": "ls /run/ltk/trio/*.sock; stat -c %a /run/ltk/trio/*.sock; cat /var/lib/ltk/trio/*.key",
}
WHOLE = "; ".join(f"echo {name}:; {script}" for name, script in SHOWN.items())
FOREIGN = (
    "for f in -4 -6; do ip $f route show table all dev theirs; ip $f rule show pref 500;"
    " ip $f route show dev eth0; done; ip -d address show dev theirs; ip address show dev eth0;"
    " ip route show table 1234; nft list table inet ltk"
)


@dataclass(frozen=True, slots=True)
class HostDrift:
    """Something done by hand on a machine: `do` is a command of the shell."""

    name: str
    do: str
    new_daemon: bool = False  # whether it takes another process to undo it

    def undone_after(self, machine: Machine) -> float:
        """Do it; returns the seconds after which everything is as it was before."""
        before, daemons = shown(machine), machine.daemons()
        assert daemons, f"{self.name}: a daemon runs before that"
        machine.run("sh", "-c", self.do.replace("DAEMON", str(daemons[0])))
        done = time.monotonic()
        try:
            wait_for(lambda: shown(machine) == before, "it to be as before")
        except AssertionError as error:
            lines = unified_diff(before.splitlines(), shown(machine).splitlines(), lineterm="", n=0)
            raise AssertionError("\n".join([f"{machine.name}: {self.name}: {error}", *lines])) from None
        if self.new_daemon:
            wait_for(
                lambda: machine.daemons() not in ([], daemons), f"another daemon after this: {self.name}"
            )
        return time.monotonic() - done


def shown(machine: Machine) -> str:
    """All that is ltk's on a machine."""
    return machine.run("sh", "-c", WHOLE, status=None)


def foreign(machine: Machine) -> str:
    """All that is not."""
    printed = machine.run("sh", "-c", FOREIGN)
    return "\n".join(line for line in printed.splitlines() if "valid_lft" not in line)


OF_ANY = (
    HostDrift("TUN device deleted", "ip link delete ltk-trio"),
    HostDrift("device down", "ip link set ltk-trio down"),
    HostDrift("MTU changed", "ip link set ltk-trio mtu 1300"),
    HostDrift("IPv4 address removed", "ip -4 address flush dev ltk-trio"),
    HostDrift("IPv6 address removed", "ip -6 address flush dev ltk-trio scope global"),
    HostDrift("table deleted", "nft delete table inet ltk-trio"),
    HostDrift("rules flushed", "nft flush table inet ltk-trio"),
    HostDrift("daemon killed", "kill -9 DAEMON", new_daemon=True),
    HostDrift("control socket deleted", "rm /run/ltk/trio/*.sock"),
    HostDrift("key file deleted", "rm /var/lib/ltk/trio/*.key"),
)
OF_THE_LED = (
    HostDrift("route removed", "ip route del 192.168.50.0/24 dev ltk-trio"),
    HostDrift("default route removed", "ip route flush table all dev ltk-trio proto 108 exact 0/0"),
    HostDrift("IPv6 default route removed", "ip -6 route flush table all dev ltk-trio proto 108 exact ::/0"),
    HostDrift("policy rule removed", "ip rule del pref $(ip rule | grep 0x6c74 | cut -d: -f1)"),
    HostDrift("IPv6 policy rule removed", "ip -6 rule del pref $(ip -6 rule | grep 0x6c74 | cut -d: -f1)"),
    HostDrift("setting of the led changed", "sysctl -qw net.ipv4.conf.all.src_valid_mark=0"),
)
OF_THE_WAY_OUT = (
    HostDrift("forwarding turned off", "sysctl -qw net.ipv4.ip_forward=0"),
    HostDrift("IPv6 forwarding turned off", "sysctl -qw net.ipv6.conf.all.forwarding=0"),
)
