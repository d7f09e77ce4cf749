"""What was looked at and saved is what is done; where the kernel has changed since, nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from harness import Lab, run_ltk

PAIR = """
name: saved
network: {subnet: 10.63.0.0/24}
nodes:
  hub: {role: server, address: 10.63.0.1}
  alice: {address: 10.63.0.2}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
  faults: ["link home delay=5ms", "block alice hub --udp"]
"""


def save(lab: Lab, path: Path) -> list[dict]:
    done = run_ltk("plan", str(lab.path), "--save", str(path), "-o", "json", status=None)
    changes: list[dict] = json.loads(done.stdout)["changes"]
    return changes


def test_a_saved_plan_is_carried_out_exactly_or_not_at_all(lab: Callable[..., Lab], tmp_path: Path) -> None:
    pair = lab(PAIR, apply=False)
    plan = tmp_path / "plan.json"

    shown = save(pair, plan)
    assert "wire" in {each["resource"] for each in shown}, "the fault that the file states is planned"
    made = json.loads(run_ltk("apply", str(plan), "-o", "json").stdout)["changes"]
    assert made == shown
    assert pair.plan() == []
    secrets = [path.read_text().strip() for path in Path("/var/lib/ltk/saved").glob("*.key")]
    assert len(secrets) == 2

    again = run_ltk("apply", str(plan), status=2)
    assert "all that it would do has come about" in again.stderr

    pair.rewrite(PAIR.replace("10.63.0.2}", "10.63.0.9, keepalive: 7}"))
    shown = save(pair, plan)
    assert not [each for each in secrets if each in plan.read_text()]
    pair.run("home", "ip", "route", "delete", "default")
    refused = run_ltk("apply", str(plan), status=2)
    assert f"+ route 0.0.0.0/0 in {pair.scope('home')} (wanted and missing)" in refused.stderr
    assert "10.63.0.2" in pair.run("alice", "ip", "address", "show", "ltk0").stdout, "nothing was changed"
    assert pair.run("home", "ip", "route", "show", "default").stdout == ""

    run_ltk("apply", pair.name)  # as it was applied last
    made = json.loads(run_ltk("apply", str(plan), "-o", "json").stdout)["changes"]
    assert made == shown
    assert "10.63.0.9" in pair.run("alice", "ip", "address", "show", "ltk0").stdout
    assert pair.plan() == []
