"""The LAN of a site stays in reach, whoever else joins it or leaves.

A bridge left to itself has the lowest Ethernet address of its ports. A cable that joins with a lower one
would make it another, and its hosts would send to the old one until they ask again, half a minute later.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from harness import Lab

from ltk.cli.main import run as ltk

TOPOLOGY = """
name: lans
network: {subnet: 10.78.0.0/24}
nodes:
  hub: {role: server, address: 10.78.0.1}
  alice: {address: 10.78.0.2}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: home, hosts: [alice]}
    inner: {nat: home, behind: home}
"""
CORE = "203.0.113.1"
HIGH, LOWER, LOWEST = "0a:00:00:00:00:ff", "06:00:00:00:00:ff", "02:00:00:00:00:01"


def hardware(lab: Lab, place: str, device: str) -> str:
    """The Ethernet address of a device."""
    (link,) = json.loads(lab.run(place, "ip", "-j", "link", "show", device).stdout)
    return str(link["address"])


def believed(lab: Lab, host: str) -> list[str]:
    """The Ethernet addresses of whom the host has met on its LAN."""
    known = json.loads(lab.run(host, "ip", "-j", "neighbour").stdout)
    return [each["lladdr"] for each in known if "lladdr" in each]


def test_a_cable_that_joins_a_lan_and_leaves_it_costs_the_hosts_there_nothing(
    lab: Callable[..., Lab],
) -> None:
    """In one process with the program that makes the LAN, which a mutant can replace."""
    made = lab(TOPOLOGY, apply=False)
    assert ltk(["apply", str(made.path)]) == 0
    made.run("home", "ip", "link", "set", "alice", "address", HIGH)
    made.run("home", "ip", "link", "set", "inner", "address", LOWER)
    made.run("alice", "ip", "neighbour", "flush", "all")
    assert made.ping("alice", CORE)["received"] == 3
    before = hardware(made, "home", "lan")
    assert believed(made, "alice") == [before]

    made.run("home", *f"ip link add guest address {LOWEST} type veth peer name far".split())
    made.run("home", "ip", "link", "set", "guest", "master", "lan", "up")
    joined = made.ping("alice", CORE, "-W", "1")
    made.run("home", "ip", "link", "delete", "guest")
    left = made.ping("alice", CORE, "-W", "1")
    assert (joined["received"], left["received"]) == (3, 3), "answers with the cable, and without it again"
    assert hardware(made, "home", "lan") == before
    assert made.plan() == []
