"""Two clients behind one NAT, behind one carrier, behind two NATs each: over which way their data goes.

The routers count it: the carrier's what it turns around, the internet's what crosses it. ltk is asked last.
The pairs of one lab ping one after another, so that whatever is counted is the pair's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from flows import PING
from harness import Lab, wait_for
from spending import COUNT, count_data, spent

INTERNET = "internet"


def topology(clients: dict[str, int], sites: str) -> str:
    nodes = "".join(f"  {name}: {{address: 10.72.0.{number}}}\n" for name, number in clients.items())
    return f"""
name: nested
network: {{subnet: 10.72.0.0/24}}
nodes:
  hub: {{role: server, address: 10.72.0.1}}
{nodes}lab:
  sites:
{sites}
"""


def failed_once(lab: Lab, one: str, other: str) -> None:
    wait_for(
        lambda: lab.peer(one, other)["direct_failures"] >= 1,
        f"the attempt of {one} at {other} to have failed",
    )


def test_behind_one_nat_the_lan_is_used_and_behind_one_carrier_what_it_allows(
    lab: Callable[..., Lab],
) -> None:
    pairs = [(f"{letter}1", f"{letter}2") for letter in "abcd"]
    clients = {name: number for number, name in enumerate(itertools.chain(*pairs), 2)}
    sites = """
    cloud: {hosts: [hub]}
    plain: {nat: port-restricted, hosts: [a1, a2]}
    hard: {nat: symmetric, hosts: [b1, b2]}
    straight: {nat: {preset: cgnat, hairpin: false}, lan: 100.64.0.0/24}
    home-c1: {nat: port-restricted, behind: straight, hosts: [c1]}
    home-c2: {nat: port-restricted, behind: straight, hosts: [c2]}
    turning: {nat: cgnat, lan: 100.64.1.0/24, wan: 203.0.113.99}
    home-d1: {nat: port-restricted, behind: turning, hosts: [d1]}
    home-d2: {nat: port-restricted, behind: turning, hosts: [d2]}
"""
    made = lab(topology(clients, sites))
    count_data(made, INTERNET, "plain", "hard", "straight", "turning")
    for one, other in pairs:  # all of them look for their path at the same time
        made.ping(one, f"10.72.0.{clients[other]}", *PING, count=3)

    for (one, other), router in zip(pairs, ("plain", "hard"), strict=False):
        wait_for(
            lambda one=one, other=other, router=router: (
                spent(made, one, clients[other], INTERNET, router) == [0, 0]
            ),
            f"the data of {one} and {other} to stay in their LAN",
        )
        assert made.peer(one, other)["path"] == "direct"
        assert made.peer(one, other)["endpoint"].startswith("192.168."), made.peer(one, other)

    failed_once(made, "c1", "c2")
    crossed, _ = spent(made, "c1", clients["c2"], INTERNET, "straight")
    assert crossed >= 4 * COUNT, f"to the hub and from there, both ways: {crossed}"
    assert made.peer("c1", "c2")["path"] == made.peer("c2", "c1")["path"] == "relay"

    def turns_around() -> bool:
        crossed, turned = spent(made, "d1", clients["d2"], INTERNET, "turning")
        return crossed == 0 and turned >= 2 * COUNT

    wait_for(turns_around, "the data to turn around at the carrier")
    for one, other in (("d1", "d2"), ("d2", "d1")):
        peer = made.peer(one, other)
        assert peer["path"] == "direct", peer
        assert peer["endpoint"].startswith("203.0.113.99:"), f"not by the carrier's own address: {peer}"


def test_two_nats_in_a_row_are_as_the_stricter_of_them(lab: Callable[..., Lab]) -> None:
    """Bob's port-restricted home is reached from each kind: those that map by destination have to search."""
    rows = (
        ("full-cone", "port-restricted", False),
        ("port-restricted", "full-cone", False),
        ("symmetric", "full-cone", True),
        ("full-cone", "symmetric", True),
    )
    sites = "    cloud: {hosts: [hub]}\n    flat: {nat: port-restricted, hosts: [bob]}\n"
    for number, (inner, outer, _) in enumerate(rows):
        sites += f"    outer{number}: {{nat: {outer}}}\n"
        sites += f"    inner{number}: {{nat: {inner}, behind: outer{number}, hosts: [a{number}]}}\n"
    made = lab(topology({"bob": 9} | {f"a{number}": 2 + number for number in range(len(rows))}, sites))
    count_data(made, INTERNET)
    for number in range(len(rows)):
        made.ping(f"a{number}", "10.72.0.9", *PING, count=3)
    for number, (inner, outer, searches) in enumerate(rows):
        here = f"a{number}"
        ways = ((here, "bob"), ("bob", here))
        wait_for(
            lambda ways=ways: all(made.peer(*way)["path"] == "direct" for way in ways),
            f"{inner} behind {outer} and bob to be direct, both ways",
            90,
        )
        observed = next(each for each in made.status()["nodes"] if each["name"] == here)["endpoint_observed"]
        for way in ways:
            peer = made.peer(*way)
            # One of 256 ports may happen to be the one that the server sees, which bob probes anyway.
            by_chance = way[0] == "bob" and searches and peer["endpoint"] == observed
            assert by_chance or ("birthday" in peer["reason"]) is searches, f"{inner} behind {outer}: {peer}"
        wait_for(
            lambda here=here: 2 * COUNT <= spent(made, here, 9, INTERNET)[0] < 4 * COUNT,
            f"the data of {inner} behind {outer} to avoid the hub",
        )


def test_a_server_behind_two_nats_is_reached_where_a_port_leads_to_it(lab: Callable[..., Lab]) -> None:
    sites = """
    carrier: {nat: symmetric, forward: {udp/4000: home:5000}}
    home: {nat: port-restricted, behind: carrier, forward: {udp/5000: hub:51820}, hosts: [hub]}
    office: {hosts: [alice]}
    flat: {nat: firewall, hosts: [bob]}
"""
    made = lab(topology({"alice": 2, "bob": 3}, sites))
    for client in ("alice", "bob"):
        assert made.ping(client, "10.72.0.1", *PING, count=5)["received"] == 5
    assert made.peer("alice", "hub")["endpoint"].endswith(":4000")
    assert made.ping("alice", "10.72.0.3", *PING, count=5)["received"] == 5
