"""The same network by ltk and by mininet: hosts, each behind a router with a NAT, and a core between those.

No tunnels: mininet has none. Both are taken as programs, from the start of their process until the last host
has had an answer from the core, and from then on until all of it has gone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import machine
from labs import timed
from places import lone_place, run, stop, wait_for

from ltk.errors import LtkError, MissingError

PROGRAM = Path(__file__).with_name("mininet_program.py")
PROGRAMS = {"mnexec": "mininet", "iptables": "iptables"}
SYSTEM_PYTHON = "/usr/bin/python3"  # whose library Debian's mininet is in
CORE = "198.18.0.1"
NAME = "bench-bare"
TIME_LIMIT = 600.0  # seconds for each; it says when to give up and no more


def measure(hosts: int, folder: Path) -> dict[str, float]:
    """Seconds that each takes to bring up, and to take down, so many hosts and routers.

    Without mininet its values are left out. Raises LtkError where the last host does not reach the core.
    """
    values = _by_ltk(hosts, folder)
    try:
        machine.need(PROGRAMS)
    except MissingError as error:
        print(f"bench: mininet is absent: {error.problem}", file=sys.stderr)
        return values
    return values | _by_mininet(hosts, folder)


def topology(hosts: int) -> str:
    """The file that ltk gets."""
    lines = [f"name: {NAME}", "nodes:"]
    lines += [f"  h{number:03}: {{role: host}}" for number in range(1, hosts + 1)]
    lines += ["lab:", "  internet: 198.18.0.0/15", "  sites:"]
    sites = (f"    r{n:03}: {{nat: port-restricted, hosts: [h{n:03}]}}" for n in range(1, hosts + 1))
    return "\n".join([*lines, *sites]) + "\n"


def _by_ltk(hosts: int, folder: Path) -> dict[str, float]:
    file = folder / f"{NAME}-{hosts}.yaml"
    file.write_text(topology(hosts))
    timed("destroy", str(file))  # what a killed run has left
    try:
        begin = time.perf_counter()
        timed("apply", str(file))
        inside = ("ip", "netns", "exec", f"ltk-{NAME}-h{hosts:03}")
        words = (*inside, "ping", "-n", "-q", "-c", "1", "-W", "1", CORE)
        wait_for(lambda: "1 received" in run(*words, check=False), "the last host to reach the core", 60.0)
        up = time.perf_counter() - begin
    finally:
        down = timed("destroy", str(file))[0]
    return {"ltk_up_s": up, "ltk_down_s": down}


def _by_mininet(hosts: int, folder: Path) -> dict[str, float]:
    log = folder / f"mininet-{hosts}.log"
    # its cables begin in the namespace that it runs in: not in the machine's own
    with lone_place("mininet") as place:
        begin = time.perf_counter()
        words = place.command(SYSTEM_PYTHON, str(PROGRAM), str(hosts))
        with _talking_to(words, log) as process:
            assert process.stdout
            if process.stdout.readline() != b"up\n":
                said = log.read_text(errors="replace").strip().splitlines()[-3:]
                raise LtkError("bringing up a network with mininet", "\n  ".join(said) or "it ended")
            up = time.perf_counter() - begin
            begin = time.perf_counter()
            process.communicate(b"down\n", timeout=TIME_LIMIT)
            return {"mininet_up_s": up, "mininet_down_s": time.perf_counter() - begin}


@contextmanager
def _talking_to(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output)
        try:
            yield process
        finally:
            stop(process)
