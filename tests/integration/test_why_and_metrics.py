"""What ltk says about paths, compared with what the network carries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from flows import PING, Flows
from harness import Lab, run_ltk, wait_for
from test_direct_paths import BOB, homes, is_direct, is_relayed, watched


def sample(text: str, name: str, **labels: str) -> float:
    """One sample of the text format."""
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}\{{(.*)\}} (\S+)", line)
        if found and dict(re.findall(r'(\w+)="([^"]*)"', found[1])) == labels:
            return float(found[2])
    raise AssertionError(f"there is no {name} with {labels} in\n{text}")


def packets(lab: Lab, path: str) -> float:
    text = run_ltk("metrics", lab.name).stdout
    return sample(text, "ltk_path_packets_total", node="alice", peer="bob", path=path, direction="tx")


def test_metrics_count_on_the_path_that_the_network_shows(lab: Callable[..., Lab]) -> None:
    made = lab(homes())
    flows: Flows = watched(made)
    wait_for(lambda: is_direct(flows, made), "a direct path")
    relayed, direct = packets(made, "relay"), packets(made, "direct")
    assert made.ping("alice", BOB, *PING, count=40)["received"] == 40
    assert packets(made, "direct") - direct >= 40
    assert packets(made, "relay") - relayed <= 5
    with flows.cut_off(("home", "flat")):
        wait_for(lambda: made.ping("alice", BOB, "-W", "1", *PING, count=1)["received"], "the relay")
        wait_for(lambda: is_relayed(flows, made), "the relay alone to carry the data")
        relayed = packets(made, "relay")
        assert made.ping("alice", BOB, *PING, count=40)["received"] == 40
        assert packets(made, "relay") - relayed >= 40
    text = run_ltk("metrics", made.name).stdout
    assert sample(text, "ltk_p2p_attempts_total", node="alice", peer="bob", result="success") >= 1
    assert sample(text, "ltk_path_switches_total", node="alice", peer="bob") >= 1


def test_why_names_every_way_and_the_reason(lab: Callable[..., Lab]) -> None:
    made = lab(homes())
    flows = watched(made)
    wait_for(lambda: is_direct(flows, made), "a direct path")
    told = json.loads(run_ltk("why", made.name, "alice", "bob", "-o", "json").stdout)
    assert told["path"] == "direct"
    active = [each for each in told["candidates"] if each["state"] == "active"]
    assert [each["endpoint"].partition(":")[0] for each in active] == [flows.places.address["flat"]]
    assert {each["kind"] for each in told["candidates"]} >= {"host", "relay"}
    assert all(each["reason"] for each in told["candidates"])
    done = run_ltk("why", made.name, "alice", "zed", status=3)
    assert "There are: hub, bob" in done.stderr
    done = run_ltk("why", made.name, "home", "bob", status=3)
    assert "home: it is a router" in done.stderr
    run_ltk("fault", made.name, "kill", "bob")
    done = run_ltk("why", made.name, "bob", "alice", status=1)
    assert "its daemon does not run, by the fault 'kill bob'" in done.stderr
    assert f"ltk fault {made.name} clear" in done.stderr
