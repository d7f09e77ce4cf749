"""A third host on the internet that hears everything, says anything, and speaks in everybody's name."""

from __future__ import annotations

import base64
import os
import random
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from attack import RATE, Node, Recorded, fire, forged, let_pass_any_source, replayed
from captures import Echo, datagrams, echoes
from flows import PING, Flows, seen
from harness import Lab, run_ltk, wait_for

from ltk.protocol.messages import Endpoint

ALICE, BOB, HUB = "10.77.0.2", "10.77.0.3", "10.77.0.1"
ADDRESSES = {"alice": ALICE, "bob": BOB, "hub": HUB}
NAMES = tuple(ADDRESSES)
PINGS = 200
LARGE = ["-s", "1000"]  # pings under attack: larger than all that was recorded, so that counters tell them
ROUNDS = 12  # of forgeries, for each node

# Bob and the hub stand where anybody reaches them; into alice's home comes what seems to be from those two.
BESIEGED = f"""
name: besieged
network: {{subnet: 10.77.0.0/24}}
nodes:
  hub: {{role: server, address: {HUB}}}
  alice: {{address: {ALICE}}}
  bob: {{address: {BOB}}}
  mallory: {{role: wireguard, address: 10.77.0.66}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: port-restricted, hosts: [alice]}}
    office: {{hosts: [bob]}}
    street: {{hosts: [mallory]}}
"""

# Each of these says that some part of the attack has reached a node, and what it met there.
ANYWHERE = {
    "replayed",
    "bad-mac1",
    "not-authentic",
    "unknown-peer",
    "unknown-receiver",
    "unknown-type",
    "wrong-length",
}
REFUSALS = {
    "alice": ANYWHERE | {"not-from-server", "channel-refused", "unasked-stun"},
    "bob": ANYWHERE | {"not-from-server", "channel-refused", "unasked-stun"},
    "hub": ANYWHERE | {"unknown-channel", "stun-refused", "stale-timestamp"},
}


def watched(lab: Lab) -> Flows:
    """Counters of the pings that really come from each site, whatever others write as their source."""
    flows = Flows(lab)
    for name, source, target, site in (
        ("a_b", "home", "bob", "home"),
        ("b_a", "bob", "home", "office"),
        ("a_hub", "home", "hub", "home"),
        ("hub_b", "hub", "bob", "cloud"),
        ("a_m", "home", "mallory", "home"),
        ("b_m", "bob", "mallory", "office"),
        ("hub_m", "hub", "mallory", "cloud"),
    ):
        flows.count(name, source, target, larger=1000, site=site)
    return flows


def nodes_of(lab: Lab) -> list[Node]:
    """All three, where the network shows them, with what everybody may know of them."""
    told = {each["name"]: each for each in lab.status()["nodes"]}
    seen = {peer["name"]: peer["endpoint"] for peer in told["hub"]["peers"]}
    seen["hub"] = next(each["endpoint"] for each in told["alice"]["peers"] if each["name"] == "hub")
    keys = {peer["name"]: peer["public_key"] for node in told.values() for peer in node["peers"]}
    found = []
    for name, inside in ADDRESSES.items():
        address, _, port = seen[name].partition(":")
        found.append(Node(inside, Endpoint(address, int(port)), base64.b64decode(keys[name])))
    return found


def positions(lab: Lab) -> dict[tuple[str, str], Any]:
    """Where each node takes each other to be, by which way, and how often that has changed."""
    return {
        (node["name"], peer["name"]): (peer["path"], peer["endpoint"], peer["switches"])
        for node in lab.status()["nodes"]
        for peer in node["peers"]
        if peer["name"] in NAMES
    }


def refusals(lab: Lab) -> dict[str, dict[str, int]]:
    """Refusals by node and reason."""
    found: dict[str, dict[str, int]] = {name: {} for name in NAMES}
    text = run_ltk("metrics", lab.name).stdout
    for node, reason, count in re.findall(
        r'^ltk_drops_total\{node="(\w+)",reason="([\w-]+)"\} (\S+)$', text, re.MULTILINE
    ):
        found[node][reason] = int(float(count))
    return found


def expected(source: str, target: str) -> list[Echo]:
    """Each ping once, and each answer once."""
    asked = [Echo(True, source, target, number) for number in range(1, PINGS + 1)]
    answered = [Echo(False, target, source, number) for number in range(1, PINGS + 1)]
    return sorted(asked + answered)


def overheard(lab: Lab, path: str) -> Recorded:
    """All that two clients say from their first handshakes until they are connected by `path`."""
    with ExitStack() as stack:
        taps = [stack.enter_context(lab.capture("internet", site, "udp")) for site in ("home", "office")]
        os.kill(lab.daemon_pid("alice"), signal.SIGKILL)  # she starts over before everybody's ears
        wait_for(lambda: lab.ping("alice", BOB, "-W", "1", *PING, count=1)["received"], "alice to be back")
        for one, other in (("alice", "bob"), ("bob", "alice")):
            wait_for(
                lambda one=one, other=other: lab.peer(one, other)["path"] == path,
                f"{one} to use the {path} path",
            )
        assert lab.ping("bob", ALICE, *PING, count=20)["received"] == 20
        return Recorded([each for tap in taps for each in datagrams(tap())])


@pytest.mark.parametrize("path", ["direct", "relay"])
def test_an_attacker_who_hears_everything_and_is_anybody_changes_nothing(
    path: str, lab: Callable[..., Lab]
) -> None:
    made = lab(BESIEGED)
    flows = watched(made)
    let_pass_any_source(made, {"internet": ["street"], "street": ["lan"]})
    if path == "relay":  # between those two; what the attacker sends in their names does arrive
        flows.cut("home", "bob", site="home")
        flows.cut("bob", "home", site="office")
    recorded = overheard(made, path)
    mallory = Endpoint(flows.places.address["mallory"], 4444)
    shots = replayed(recorded, mallory) + forged(recorded, nodes_of(made), mallory, ROUNDS)
    random.Random(len(shots)).shuffle(shots)

    before, counted, refused = positions(made), flows.counted(), refusals(made)
    interval = len(shots) / RATE / PINGS
    words = ["ping", "-n", "-i", f"{interval:.3f}", "-c", str(PINGS), "-W", "5", *LARGE, BOB]
    with ExitStack() as stack:
        tuns = {name: stack.enter_context(made.capture(name, "ltk0")) for name in NAMES}
        ping = stack.enter_context(made.running("alice", *words))
        fire(made, "mallory", shots)
        output, _ = ping.communicate(timeout=60)
        delivered = {name: sorted(echoes(tap())) for name, tap in tuns.items()}
    used = {name: count - counted[name] for name, count in flows.counted().items()}

    assert f"{PINGS} packets transmitted, {PINGS} received" in output, f"not every ping came back\n{output}"
    once = expected(ALICE, BOB)
    assert delivered == {"alice": once, "bob": once, "hub": []}, "not exactly the pings were delivered"
    assert positions(made) == before, "somebody is taken to be elsewhere"
    met = refusals(made)
    for name, reasons in REFUSALS.items():
        missing = {each for each in reasons if met[name].get(each, 0) <= refused[name].get(each, 0)}
        assert not missing, f"a part of the attack never reached {name}: {missing}"
    assert [used[name] for name in ("a_m", "b_m", "hub_m")] == [0, 0, 0], f"the attacker got pings: {used}"
    most = range(seen(PINGS), PINGS + 1)
    if path == "direct":
        assert used["a_b"] in most, used
        assert used["b_a"] in most, used
        # a path that a busy machine makes doubtful for a moment has its data on the relay as well
        assert max(used["a_hub"], used["hub_b"]) <= PINGS // 10, used
    else:
        assert used["a_hub"] in most, used
        assert used["hub_b"] in most, used
        assert [used["a_b"], used["b_a"]] == [0, 0], used
