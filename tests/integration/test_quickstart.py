"""The README's topology: everybody reaches everybody, and outside there is nothing but the tunnel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import REPOSITORY, Lab, run_ltk

TOPOLOGIES = sorted((REPOSITORY / "topologies").glob("*.yaml"))
SECRET = "this-is-what-nobody-may-read"


def test_alice_behind_her_nat_reaches_the_hub_and_bob(quickstart: Lab) -> None:
    for target in ("10.0.0.1", "10.0.0.3"):
        result = quickstart.ping("alice", target, count=10)
        assert result["received"] == 10, result["output"]


def test_the_underlay_carries_nothing_but_the_tunnels_udp(quickstart: Lab) -> None:
    before = quickstart.counters("internet")
    pattern = SECRET.encode().hex()
    # bob: through the hub, so that both of its cables are crossed
    with quickstart.capture("internet", "any") as stop:
        result = quickstart.ping("alice", "10.0.0.3", "-s", "500", "-p", pattern[:32], count=20)
        capture = stop()
    assert result["received"] == 20, result["output"]
    after = quickstart.counters("internet")
    carried = {name: after[name] - before[name] for name in after}
    assert carried.pop("carried_udp") >= 40 * 2, "each ping and each answer crosses the internet twice"
    assert set(carried.values()) == {0}, carried
    assert len(capture) > 20 * 500, "the capture has seen the traffic"
    assert bytes.fromhex(pattern[:32]) not in capture


def test_inside_the_tunnel_the_same_search_finds_the_payload(quickstart: Lab) -> None:
    """The proof above could not fail if its capture or its pattern were wrong."""
    pattern = SECRET.encode().hex()[:32]
    with quickstart.capture("alice", "ltk0") as stop:
        quickstart.ping("alice", "10.0.0.3", "-s", "500", "-p", pattern, count=3)
        assert bytes.fromhex(pattern) in stop()


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_each_topology_comes_up_and_connects_whom_it_says(path: Path, lab: Callable[..., Lab]) -> None:
    lab = lab(path.read_text())
    told = json.loads(run_ltk("render", str(path), "-o", "json").stdout)["topology"]
    server = next(name for name, node in told["nodes"].items() if node["role"] == "server")
    isolated = told["nodes"][server]["isolation"]
    pings = json.loads(run_ltk("ping", lab.name, "--timeout", "5", "-o", "json", status=None).stdout)["pings"]
    assert len(pings) >= 6
    for ping in pings:
        expected = not isolated or server in (ping["from"], ping["to"])
        assert (ping["rtt_ms"] is not None) is expected, ping
    assert lab.plan() == []
    assert lab.status()["state"] == "up"
