"""Memory is bounded: under full load a daemon has soon all that it will ever need, but for what waits.

LTK_LOAD_SECONDS is for how long; a run of the test suite takes less than the five minutes of a release.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from harness import Lab, wait_for

from ltk.node import inbox

SECONDS = int(os.environ.get("LTK_LOAD_SECONDS", "16"))
# Bytes, from a quarter of the time on: what may wait in the queues at any moment, and some for the allocator.
# A byte that is kept of each packet would be more in five minutes.
GROWTH = inbox.LIMIT + (1 << 20)
NODES = ("alice", "bob", "hub")
MB = 1e6


def anonymous(pid: int) -> int:
    """Bytes of a process that no file backs, and no other process shares the page of a file with."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def test_memory_does_not_grow_under_full_load(quickstart: Lab) -> None:
    """TCP in both directions and a flood of small datagrams, for as long as it takes."""
    pids = {node: quickstart.daemon_pid(node) for node in NODES}
    words = ("iperf3", "-c", "10.0.0.3", "-t", str(SECONDS))
    ports = {"5201": ("--bidir",), "5202": ("-u", "-b", "0", "-l", "64")}
    begin = time.monotonic()
    seen: dict[str, list[int]] = {node: [] for node in NODES}
    with (
        quickstart.running("bob", "iperf3", "-s", "-p", "5201", stdout=subprocess.DEVNULL),
        quickstart.running("bob", "iperf3", "-s", "-p", "5202", stdout=subprocess.DEVNULL),
    ):
        for port in ports:
            wait_for(
                lambda at=port: f":{at}" in quickstart.run("bob", "ss", "-Hltn").stdout, f"iperf3 at {port}"
            )
        with (
            quickstart.running(
                "alice", *words, "-p", "5201", *ports["5201"], stdout=subprocess.DEVNULL
            ) as stream,
            quickstart.running(
                "alice", *words, "-p", "5202", *ports["5202"], stdout=subprocess.DEVNULL
            ) as flood,
        ):
            before = quickstart.counters("internet")["carried_udp"]

            def over() -> bool:
                """Whether both have ended; looks at the daemons on the way."""
                if time.monotonic() - begin > SECONDS / 4:
                    for node, pid in pids.items():
                        seen[node].append(anonymous(pid))
                return stream.poll() is not None and flood.poll() is not None

            wait_for(over, "the end of the load", deadline=SECONDS + 60)
            assert (stream.returncode, flood.returncode) == (0, 0)
    assert quickstart.counters("internet")["carried_udp"] > before + 100 * SECONDS, "no load was seen"
    told = {node: f"{sizes[0] / MB:.1f} to {max(sizes) / MB:.1f} MB" for node, sizes in seen.items()}
    print(f"memory of its own, over {SECONDS} s: {told}")
    assert {node: pid for node, pid in pids.items() if quickstart.daemon_pid(node) != pid} == {}
    for node, sizes in seen.items():
        assert max(sizes) - sizes[0] <= GROWTH, f"{node} has grown: {told}"
