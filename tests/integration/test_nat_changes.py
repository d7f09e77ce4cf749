"""The NAT in front of a host becomes another while it talks, and the paths are those of the new one."""

from __future__ import annotations

from collections.abc import Callable

from echoes import undisturbed
from flows import PING, Flows, flush_nat, seen
from harness import Lab, wait_for

TOPOLOGY = """
name: change
network: {subnet: 10.72.0.0/24}
nodes:
  hub: {role: server, address: 10.72.0.1}
  alice: {address: 10.72.0.2}
  bob: {address: 10.72.0.3}
  carol: {address: 10.72.0.4}
  dave: {address: 10.72.0.5}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: home, hosts: [alice]}
    flat: {nat: port-restricted, hosts: [bob]}
    office: {nat: symmetric, hosts: [carol]}
    villa: {nat: home, hosts: [dave]}
"""
NUMBERS = {"bob": 3, "carol": 4}
COUNT = 10


def way(lab: Lab, flows: Flows, other: str) -> str:
    """Over which way the data of alice and another goes just now, as the internet counts it."""
    before = flows.counted()
    result = lab.ping("alice", f"10.72.0.{NUMBERS[other]}", *PING, count=COUNT)
    after = flows.counted()
    if result["received"] < COUNT:  # a router that starts anew loses what is under way
        return "changing"
    used = {name: after[name] - before[name] for name in after}
    direct, relayed = used[f"alice_{other}"], used["alice_hub"]
    if direct >= seen(COUNT) and relayed == 0:
        return "direct"
    return "relay" if relayed >= seen(COUNT) and direct == 0 else "changing"


def become(lab: Lab, nat: str) -> None:
    """Make alice's router another, which is one change, and start it anew, as its owner does."""
    before = [lab.daemon_pid(node) for node in ("hub", "alice", "bob", "carol")]
    head, _, tail = lab.yaml.partition("    home: {nat: ")
    lab.rewrite(f"{head}    home: {{nat: {nat},{tail.partition(',')[2]}")
    changes = lab.apply()["changes"]
    assert [(each["action"], each["resource"], each["scope"]) for each in changes] == [
        ("update", "ruleset", "ltk-change-home")
    ]
    assert [lab.daemon_pid(node) for node in ("hub", "alice", "bob", "carol")] == before
    flush_nat(lab, "home", new_ports=False)


def test_a_pair_takes_the_way_that_the_new_nat_allows_and_nobody_else_notices(
    lab: Callable[..., Lab],
) -> None:
    made = lab(TOPOLOGY)
    flows = Flows(made)
    flows.watch(("alice",), (("alice", "bob"), ("alice", "carol")))

    def goes(other: str, expected: str, nat: str) -> None:
        wait_for(
            lambda: way(made, flows, other) == expected,
            f"{expected} data of alice's {nat} NAT and {other}",
            90,
        )
        path = made.peer("alice", other)
        assert path["path"] == expected, path

    with undisturbed(made, "dave", "10.72.0.1", *PING):
        goes("bob", "direct", "home")
        become(made, "symmetric")
        goes("carol", "relay", "symmetric")  # where both map by destination, there is no direct way
        become(made, "full-cone")
        goes("bob", "direct", "full-cone")
        goes("carol", "direct", "full-cone")
    assert made.plan() == []
