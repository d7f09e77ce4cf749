"""A client that floods does not take the server from the others: by pings, and the server's own counters."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from figures import Figure, Judge
from harness import Lab, wait_for

HUB = "10.74.0.1"
FLOODERS = {"mallory": "10.74.0.2", "eve": "10.74.0.3"}
PORT = 7  # nobody listens: what arrives is counted and answered by the kernel, at its own limited rate
SECONDS = 120  # the bound of a flood, which ends with the body
SCRIPT = str(Path(__file__).with_name("flood.py"))
PATIENCE = 90.0  # seconds
PINGS = 60
ROUNDS = 3
ADDED = 0.005  # seconds at the median, under a flood
SHARE = 50_000_000  # bytes of both, of which the shares are taken

TOPOLOGY = f"""
name: fair
network: {{subnet: 10.74.0.0/24}}
nodes:
  hub: {{role: server, address: {HUB}}}
  mallory: {{address: {FLOODERS["mallory"]}}}
  eve: {{address: {FLOODERS["eve"]}}}
  alice: {{address: 10.74.0.4}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    attic: {{hosts: [mallory]}}
    cellar: {{hosts: [eve]}}
    home: {{nat: port-restricted, hosts: [alice]}}
"""


@pytest.fixture
def fair(lab: Callable[..., Lab]) -> Lab:
    """The network, with counters of what comes out of the server's tunnel; what is counted is dropped."""
    made = lab(TOPOLOGY)
    counters, rules = "", ""
    for name, address in FLOODERS.items():
        counters += f"counter {name} {{}}\n"
        rules += f"iifname ltk0 ip saddr {address} udp dport {PORT} counter name {name} drop\n"
    chain = f"chain count {{\ntype filter hook input priority -10;\n{rules}}}\n"
    done = subprocess.run(
        made.command("hub", "nft", "-f", "-"),
        input=f"table inet proof {{\n{counters}{chain}}}\n",
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


def counted(lab: Lab) -> dict[str, int]:
    """Bytes that each has got into the server's kernel."""
    listed = json.loads(lab.run("hub", "nft", "-j", "list", "counters", "table", "inet", "proof").stdout)
    return {
        each["counter"]["name"]: each["counter"]["bytes"] for each in listed["nftables"] if "counter" in each
    }


@contextmanager
def flooding(lab: Lab, *sources: str) -> Iterator[None]:
    """Floods from these clients while the body goes on; each has reached the server before it begins."""
    before = counted(lab)
    with ExitStack() as stack:
        for source in sources:
            words = [sys.executable, SCRIPT, HUB, str(PORT), str(SECONDS)]
            stack.enter_context(lab.running(source, *words, stdout=subprocess.DEVNULL))
        wait_for(
            lambda: all(counted(lab)[source] > before[source] + 1_000_000 for source in sources),
            f"the floods of {', '.join(sources)} to reach the server",
            PATIENCE,
        )
        yield


def test_a_flood_of_one_client_does_not_stop_anothers_ping(fair: Lab, held: Judge) -> None:
    added = []
    for _ in range(ROUNDS):
        quiet = fair.ping("alice", HUB, "-i", "0.02", count=PINGS)
        before = counted(fair)["mallory"]
        with flooding(fair, "mallory"):
            flooded = fair.ping("alice", HUB, "-i", "0.02", count=PINGS)
            arrived = counted(fair)["mallory"] - before
        assert quiet["received"] == PINGS, quiet["output"]
        assert flooded["received"] >= 0.9 * PINGS, flooded["output"]
        assert arrived > 10_000_000, "there was no flood"
        added.append((statistics.median(flooded["times"]) - statistics.median(quiet["times"])) / 1000)
    held([Figure("F1", "added to a ping by another's flood", ADDED, tuple(added))], ROUNDS)


def test_two_clients_that_flood_get_shares_within_a_factor_of_two(fair: Lab) -> None:
    """However many streams each has: mallory has four."""
    with flooding(fair, "mallory", "mallory", "mallory", "mallory", "eve"):
        before = counted(fair)

        def shares() -> dict[str, int]:
            return {name: count - before[name] for name, count in counted(fair).items()}

        wait_for(
            lambda: sum(shares().values()) >= SHARE, f"{SHARE} bytes of both to reach the server", PATIENCE
        )
        got = shares()
    print(f"shares: {got}")
    assert 0.5 <= got["mallory"] / got["eve"] <= 2, got
