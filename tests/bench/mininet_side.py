"""The same network by ltk and by mininet: hosts, each behind a router with a NAT, and a core between those.

No tunnels: mininet has none. Both are taken as programs, from the start of their process until the last host
has had an answer from the core, and from then on until all of it has gone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import machine
from labs import destroyed, timed
from places import Place, lone_place, run, stop, wait_for

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
    inside = ("ip", "netns", "exec", f"ltk-{NAME}-h{hosts:03}")
    words = (*inside, "ping", "-n", "-q", "-c", "1", "-W", "1", CORE)
    with destroyed(file, topology(hosts)):
        begin = time.perf_counter()
        timed("apply", str(file))
        wait_for(lambda: "1 received" in run(*words, check=False), "the last host to reach the core", 60.0)
        up = time.perf_counter() - begin
        return {"ltk_up_s": up, "ltk_down_s": timed("destroy", str(file))[0]}


def _by_mininet(hosts: int, folder: Path) -> dict[str, float]:
    with lone_place("mininet") as place:
        begin = time.perf_counter()
        with up(place, hosts, folder) as down:
            spent = time.perf_counter() - begin
            begin = time.perf_counter()
            down()
            return {"mininet_up_s": spent, "mininet_down_s": time.perf_counter() - begin}


@contextmanager
def up(place: Place, hosts: int, folder: Path, around: Sequence[str] = ()) -> Iterator[Callable[[], None]]:
    """The network, brought up by mininet; the value takes it down. `around` is what its program is run by.

    Its cables begin in the namespace that it runs in: in `place`, not in the machine's own. Raises LtkError
    where it does not come up.
    """
    log = folder / f"mininet-{hosts}.log"
    words = place.command(*around, SYSTEM_PYTHON, str(PROGRAM), str(hosts))
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output)
    try:
        assert process.stdout
        if process.stdout.readline() != b"up\n":
            said = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise LtkError("bringing up a network with mininet", "\n  ".join(said) or "it ended")
        yield lambda: _end(process)
    finally:
        stop(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"down\n", timeout=TIME_LIMIT)
