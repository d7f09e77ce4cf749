"""A lab of many sites is the same lab: more of everything than is done at once, and nothing is left over."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness import Lab, run_ltk

SITES = 70  # more rule sets, daemons and questions than go side by side
MANY = f"""
name: many
network: {{subnet: 10.62.0.0/16}}
nodes:
  hub: {{role: server}}
  client: {{count: {SITES}}}
lab:
  internet: 198.18.0.0/15
  sites:
    cloud: {{hosts: [hub]}}
    home: {{count: {SITES}, nat: port-restricted, hosts: [client]}}
"""
QUIET = {"netlink": 0, "nft": 0, "sysctl": 0}


def test_many_sites_come_up_stay_as_they_are_and_one_that_is_changed_is_found(
    lab: Callable[..., Lab],
) -> None:
    many = lab(MANY)
    assert all(node["state"] == "running" for node in many.status()["nodes"])
    assert many.ping("client-01", "10.62.0.1")["received"] == 3
    assert many.ping(f"client-{SITES}", "10.62.0.1")["received"] == 3
    second = many.apply()
    assert (second["changes"], second["writes"]) == ([], QUIET)

    rules = many.run("home-42", "nft", "-a", "list", "chain", "inet", "ltk", "forward").stdout
    last = re.findall(r"comment .* handle (\d+)", rules)[-1]
    many.run("home-42", "nft", "delete", "rule", "inet", "ltk", "forward", "handle", last)
    many.run("client-64", "ip", "route", "delete", "default")
    many.run("home-07", "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
    found = {(each["action"], each["resource"], each["scope"]) for each in many.plan()}
    assert found == {
        ("update", "ruleset", many.scope("home-42")),
        ("create", "route", many.scope("client-64")),
        ("update", "sysctl", many.scope("home-07")),
    }
    many.apply()
    assert many.plan() == []
    run_ltk("destroy", many.name)
