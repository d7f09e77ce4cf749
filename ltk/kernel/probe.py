"""What this machine can do for ltk, found by doing it in a namespace that nobody ever sees."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ltk.errors import LtkError, MissingError
from ltk.kernel import messages, netns, nft, offloads, tuntap, userns
from ltk.kernel.netlink import Netlink

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}  # bits; linux/capability.h
NEIGHBOURS = "net.ipv4.neigh.default.gc_thresh3"  # two for each cable; what finds no room is not sent
NEIGHBOURS_ENOUGH = 8192
KERNEL_NEEDED = (5, 18)  # the first that keeps an origin with each address


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for. `remedy` says how to get it; `needed` whether ltk does without it."""

    what: str
    present: bool
    detail: str
    remedy: str
    needed: bool = True


def require() -> None:
    """Raise MissingError for the first thing without which nothing comes up. Changes nothing, costs nothing.

    What only a trial can tell is for `findings`.
    """
    doing = "looking at what this machine has"
    if os.geteuid() != 0:
        problem = f"user {os.geteuid()} may not make namespaces and devices"
        raise MissingError(doing, problem, hint="Run it as root.")
    if withheld := [name for name, bit in CAPABILITIES.items() if not _effective_capabilities() >> bit & 1]:
        hint = "In a container, give it these capabilities, or run it privileged."
        raise MissingError(doing, f"root has no {' and no '.join(withheld)} here", hint=hint)
    nft.program()
    tuntap.require()


def _effective_capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)


def findings(refused: MissingError | None = None, room: str | None = None) -> list[Finding]:
    """Look at everything. Without privilege most is unknown, and the first finding says so.

    `refused` is why an ordinary user cannot be root of namespaces of their own, `room` the size of the
    machine's table of neighbours, where it can be seen.
    """
    root = os.geteuid() == 0
    found = [
        _root(refused),
        Finding(
            "python", sys.version_info >= (3, 11), sys.version.split()[0], "Install Python 3.11 or newer."
        ),
        _kernel(),
        _program("nft", "apt-get install nftables"),
        Finding(
            "tun",
            Path(tuntap.CLONE_DEVICE).exists(),
            tuntap.CLONE_DEVICE,
            "Load the module: modprobe tun; in a container pass the device through.",
        ),
    ]
    if root:
        found += [_tried(*trial) for trial in _TRIALS]
    if root:
        found += offload_findings()
    if room is not None:
        found.append(
            Finding(
                "neighbours",
                int(room) >= NEIGHBOURS_ENOUGH,
                f"room for {room} in the table that all namespaces share",
                f"Labs of over {int(room) // 8} sites need more: sysctl -w {NEIGHBOURS}={NEIGHBOURS_ENOUGH}",
                needed=False,
            )
        )
    found += [
        # The kernel's own netem is missing on many machines; the wire does the same on all of them.
        Finding("link delay", True, "the user-space wire (ltk does not use netem)", ""),
        _program("ping", "apt-get install iputils-ping", needed=False),
        _program("tcpdump", "apt-get install tcpdump", needed=False),
        _program("iperf3", "apt-get install iperf3", needed=False),
        _program("wireguard-go", "apt-get install wireguard-go wireguard-tools", needed=False),
    ]
    return found


def _root(refused: MissingError | None) -> Finding:
    if refused is not None:
        return Finding(
            "root", False, f"{refused.doing}: {refused.problem}", refused.hint or "Run ltk as root."
        )
    outside = userns.owner()
    detail = "user 0" if outside is None else f"user {outside}, in a user namespace"
    if os.geteuid() != 0:
        detail = f"user {os.geteuid()}"
    return Finding("root", os.geteuid() == 0, detail, "Run ltk as root.")


def offload_findings() -> list[Finding]:
    """Look for what makes the tunnel fast, and is done packet by packet where the kernel lacks it."""
    with netns.throwaway(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        out = offloads.set_udp(bound, offloads.UDP_SEGMENT, 0)
        back = offloads.set_udp(bound, offloads.UDP_GRO, 1)
        try:
            turned_on = tuntap.try_offloads("ltk0")
        except LtkError:  # there is no such device at all, which its own trial says
            turned_on = 0
    return [
        _offload("UDP bursts out", out, "4.18"),
        _offload("UDP bursts in", back, "5.0"),
        _offload("TUN super-TCP", bool(turned_on), "2.6.27"),
        _offload("TUN super-UDP", turned_on == offloads.TCP_AND_UDP, "6.2"),
    ]


def _offload(what: str, present: bool, since: str) -> Finding:
    detail = "works" if present else "not in this kernel: the tunnel works packet by packet there"
    return Finding(what, present, detail, f"Linux {since} and newer have it.", needed=False)


def _kernel() -> Finding:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    needed = ".".join(str(part) for part in KERNEL_NEEDED)
    return Finding("kernel", numbers >= KERNEL_NEEDED, release, f"Linux {needed} or newer is needed.")


def _program(name: str, remedy: str, *, needed: bool = True) -> Finding:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return Finding(name, found is not None, found or "not installed", remedy, needed)


def _tried(what: str, trial: Callable[[], None], remedy: str) -> Finding:
    try:
        with netns.throwaway():
            trial()
    except MissingError as error:
        return Finding(what, False, error.problem, error.hint or remedy)
    except LtkError as error:
        return Finding(what, False, error.problem, remedy)
    return Finding(what, True, "works", remedy)


def _try_bridge() -> None:
    with Netlink.open() as netlink:
        netlink.run([messages.create_bridge("lan", 1500)])


def _try_veth() -> None:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with Netlink.open() as netlink:
            netlink.run([messages.create_veth("a", "b", own, 1500), messages.add_altname("a", "ltk.trial")])
    finally:
        os.close(own)


def _try_tun() -> None:
    tuntap.create(None, "ltk0", [])


def _try_tap() -> None:
    tuntap.create_tap(None, "wan", [])


def _try_nat() -> None:
    rules = """
        table inet ltk {
            chain source { type nat hook postrouting priority 100
                masquerade random,fully-random
            }
            chain forward { type filter hook forward priority 0
                ct state established counter
            }
        }"""
    done = subprocess.run(
        [nft.program(), "-f", "-"], input=rules, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise LtkError("loading rules", done.stderr.strip().splitlines()[0])


_TRIALS: tuple[tuple[str, Callable[[], None], str], ...] = (
    ("namespaces", lambda: None, "The kernel needs CONFIG_NET_NS; in a container, CAP_SYS_ADMIN."),
    ("veth", _try_veth, "The kernel needs CONFIG_VETH: modprobe veth"),
    ("bridge", _try_bridge, "The kernel needs CONFIG_BRIDGE: modprobe bridge"),
    ("tun device", _try_tun, "The kernel needs CONFIG_TUN: modprobe tun"),
    ("tap device", _try_tap, "The kernel needs CONFIG_TUN: modprobe tun"),
    (
        "nftables nat",
        _try_nat,
        "The kernel needs CONFIG_NF_TABLES and CONFIG_NFT_MASQ: modprobe nf_tables nft_masq",
    ),
)
