"""Labs of many sites: how long ltk's own commands take, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from places import run, wait_for

from ltk.errors import LtkError

HUB = "10.80.0.1"
TIME_LIMIT = 600.0  # seconds for one command; it says when to give up and no more


def measure(sites: int, folder: Path) -> dict[str, float]:
    """Seconds for each step in the life of a lab with so many sites, each with a NAT, a router and a host.

    Raises LtkError where a command fails, a tunnel does not carry a ping, or a second apply changes anything.
    """
    name = f"bench-{sites}"
    file = folder / f"{name}.yaml"
    last = f"client-{sites:03}"
    with destroyed(file, topology(name, sites)):
        values = {"apply_s": timed("apply", str(file))[0]}
        inside = ("ip", "netns", "exec", f"ltk-{name}-{last}")
        words = (*inside, "ping", "-n", "-q", "-c", "1", "-W", "1", HUB)
        begin = time.perf_counter()
        wait_for(lambda: "1 received" in run(*words, check=False), f"{last} to reach the hub", 60.0)
        values["reached_s"] = time.perf_counter() - begin
        values["apply_again_s"], printed = timed("apply", str(file))
        again = json.loads(printed)
        if again["changes"] or any(again["writes"].values()):
            raise LtkError("applying the same again", f"it has changed {printed[:200]}")
        file.write_text(topology(name, sites, keepalive=15))
        values["change_one_s"] = timed("apply", str(file))[0]
        values["status_s"] = timed("status", name)[0]
        values["destroy_s"] = timed("destroy", str(file))[0]
    return values


def help_seconds() -> float:
    """Seconds that `ltk --help` takes."""
    return timed("--help", json_output=False)[0]


def topology(name: str, sites: int, *, keepalive: int = 20) -> str:
    """The file: a server with a public address and `sites` homes; `keepalive` is the first client's."""
    nodes = [f"  hub: {{role: server, address: {HUB}}}"]
    homes = ["    cloud: {hosts: [hub]}"]
    for number in range(1, sites + 1):
        own = f"{{keepalive: {keepalive}}}" if number == 1 else "{}"
        nodes.append(f"  client-{number:03}: {own}")
        homes.append(f"    home-{number:03}: {{nat: port-restricted, hosts: [client-{number:03}]}}")
    head = [f"name: {name}", "network: {subnet: 10.80.0.0/16}", "nodes:"]
    lines = [*head, *nodes, "lab:", "  internet: 198.18.0.0/15", "  sites:", *homes]
    return "\n".join(lines) + "\n"


@contextmanager
def destroyed(file: Path, text: str) -> Iterator[None]:
    """Write the file. The lab goes after the body, and what a killed run has left of it before."""
    file.write_text(text)
    timed("destroy", str(file))
    try:
        yield
    finally:
        timed("destroy", str(file))


def timed(verb: str, *arguments: str, json_output: bool = True) -> tuple[float, str]:
    """Run a command of ltk's; return how long it took, and what it printed."""
    words = [sys.executable, "-m", "ltk", verb, *arguments, *(["-o", "json"] if json_output else [])]
    begin = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    spent = time.perf_counter() - begin
    if done.returncode:
        raise LtkError(f"running ltk {verb}", f"status {done.returncode}: {done.stderr.strip()[-500:]}")
    return spent, done.stdout
