"""A topology that was kept as JSON is the same topology."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ltk.topology.load import load_topology, parse_topology
from ltk.topology.stored import from_json, to_json

STORIES = sorted((Path(__file__).parents[3] / "topologies").glob("*.yaml"))
EVERYTHING = """
name: everything
network: {subnet: [10.0.0.0/24, "fd00::/64"], mtu: 1400, psk: {env: PSK}, secret: {file: s}, p2p: eager}
nodes:
  hub: {role: server, listen: 9000, isolation: true, routes: [172.20.0.0/24, "fd01::/64"]}
  alice: {p2p: off, private_key: {command: pass alice}}
  phone: {role: wireguard, public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=}
lab:
  internet: [203.0.113.0/24, "2001:db8::/48"]
  sites:
    cloud: {hosts: [hub]}
    home: {nat: symmetric, hosts: [alice, phone], link: {delay: 20ms, jitter: 1ms, loss: 0.5%}}
"""


@pytest.mark.parametrize("text", [story.read_text() for story in STORIES] + [EVERYTHING])
def test_what_is_read_back_is_equal_to_what_was_kept(text: str) -> None:
    topology = parse_topology(text.encode(), file="t.yaml", folder=Path("/etc/vpn"))
    back = from_json(json.loads(json.dumps(to_json(topology))))
    assert back == topology
    assert repr(back) == repr(topology), "down to the types"


@pytest.mark.parametrize("damage", ["name", "nodes", "lab"])
def test_what_is_not_whole_is_refused(damage: str) -> None:
    value = to_json(load_topology(str(STORIES[0])))
    del value[damage]
    with pytest.raises(KeyError):
        from_json(value)
    for wrong in ([], None, "a topology", {"nodes": 7}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            from_json(wrong)
