"""Servers that are killed again and again, and what their clients notice of it.

Of each server there are two clients that are relayed, one of which talks to the server as well, and two that
are direct. A server that has lived for ten seconds is started again at once; one that dies sooner would be
waited for, which would then be no figure of the tunnel's.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from flows import Flows
from harness import Lab, wait_for
from homes import PATIENCE, STEADY, is_direct
from streams import Stream, Traffic, traffic

LONG_LIFE = 10.5  # seconds; the supervisor's LONG_LIFE, and the start of the process
DIRECT = ("home-c", "home-d")


@dataclass(slots=True)
class Restarts:
    """Seconds for which clients heard nothing, by restart, and by direct pair what it lost: Unix times."""

    talking_to_server: list[float] = field(default_factory=list)
    relayed: list[float] = field(default_factory=list)
    killed: list[float] = field(default_factory=list)
    lost: dict[str, list[float]] = field(default_factory=dict)
    twice: dict[str, list[int]] = field(default_factory=dict)


def topology(number: int) -> str:
    """The server and its four clients."""
    return f"""
name: restarts{number}
network: {{subnet: 10.74.0.0/24}}
nodes:
  hub: {{role: server, address: 10.74.0.1}}
  a: {{address: 10.74.0.2, p2p: off}}
  b: {{address: 10.74.0.3, p2p: off}}
  c: {{address: 10.74.0.4}}
  d: {{address: 10.74.0.5}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home-a: {{nat: port-restricted, hosts: [a]}}
    home-b: {{nat: port-restricted, hosts: [b]}}
    home-c: {{nat: port-restricted, hosts: [c]}}
    home-d: {{nat: port-restricted, hosts: [d]}}
"""


def measure(labs: Sequence[Lab], restarts: int) -> Restarts:
    """Restart the server of each lab so many times, all labs side by side."""
    found = Restarts()
    with traffic() as world, ThreadPoolExecutor(len(labs)) as executor:
        for end in [executor.submit(_measure, lab, world, restarts, found) for lab in labs]:
            end.result()
    return found


def _measure(lab: Lab, world: Traffic, restarts: int, found: Restarts) -> None:
    flows, seen = Flows(lab), world.sightings(lab)
    to_server = world.stream(lab, "a", "hub", "10.74.0.1")
    relayed = world.stream(lab, "a", "b", "10.74.0.3")
    direct = world.stream(lab, "c", "d", "10.74.0.5")
    began = time.time()
    await_echoes(world, (to_server, relayed), began)
    wait_for(lambda: is_direct(seen, flows, DIRECT, began), f"a direct path in {lab.name}", PATIENCE)
    settled = time.time()
    for _ in range(restarts):
        killed = kill_server(lab)
        await_echoes(world, (to_server, relayed, direct), killed)
        found.killed.append(killed)
        found.talking_to_server.append(to_server.outage(killed, time.time()))
        found.relayed.append(relayed.outage(killed, time.time()))
    until = direct.last_echoed()
    await_echoes(world, (direct,), until)  # those before that were overtaken have come by then
    found.lost[direct.name] = [direct.sent[number] for number in direct.lost(settled, until)]
    found.twice |= {each.name: each.duplicates() for each in (to_server, relayed, direct)}
    world.stop(to_server, relayed, direct)


def kill_server(lab: Lab) -> float:
    """Kill the server's daemon, once it has lived long enough, and return when that was."""
    pid = lab.daemon_pid("hub")
    wait_for(lambda: _age(pid) > LONG_LIFE, f"process {pid} to have lived for {LONG_LIFE:g} s")
    killed = time.time()
    os.kill(pid, signal.SIGKILL)
    return killed


def await_echoes(world: Traffic, streams: Sequence[Stream], since: float) -> None:
    """Wait until a second's worth of what was sent since then has come back on each of the streams."""

    def go_on() -> bool:
        world.check()
        return all(stream.echoes(since) >= STEADY for stream in streams)

    wait_for(go_on, f"data to go on: {', '.join(stream.name for stream in streams)}", PATIENCE)


def _age(pid: int) -> float:
    """Seconds since the process was forked."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])  # proc(5), field 22
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
