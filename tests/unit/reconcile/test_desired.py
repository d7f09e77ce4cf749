"""What a topology asks of the machine: tunnels, routes, and what each daemon is told."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ltk.protocol.primitives import decode_key, encode_key, public_key_of
from ltk.protocol.segments import largest_super_packet
from ltk.reconcile.desired import desired
from ltk.reconcile.plan import plan
from ltk.reconcile.resources import Address, Daemon, Route, Secret, Setting, State, Tun
from ltk.reconcile.secrets import keyring, psk_file
from ltk.topology.expanded import Topology

PHONE_KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
YAML = f"""
name: t
network: {{subnet: [10.0.0.0/24, "fd00::/64"], mtu: 1400}}
nodes:
  hub: {{role: server, listen: 9000, isolation: true, routes: 172.20.0.0/24}}
  alice: {{routes: [192.168.50.0/24, "fd01::/64"]}}
  bob: {{keepalive: 7, device: wg0}}
  phone: {{role: wireguard, public_key: {PHONE_KEY}}}
lab:
  sites:
    cloud: {{hosts: [hub, bob]}}
    home: {{nat: symmetric, hosts: [alice, phone]}}
"""


def want(topology: Topology) -> State:
    assert topology.lab is not None
    return desired(topology, topology.lab, keyring(topology))


@pytest.fixture
def state(parse: Callable[[str], Topology]) -> State:
    return want(parse(YAML))


def config(state: State, node: str) -> dict[str, Any]:
    daemon = state["daemon", f"ltk-t-{node}", node]
    assert isinstance(daemon, Daemon)
    return daemon.config


def peers(state: State, node: str) -> dict[str, dict[str, Any]]:
    return {peer["name"]: peer for peer in config(state, node)["peers"]}


def test_the_server_takes_from_each_peer_its_own_addresses_and_what_is_behind_it(state: State) -> None:
    allowed = {name: set(peer["allowed_ips"]) for name, peer in peers(state, "hub").items()}
    assert allowed == {
        "alice": {"10.0.0.2/32", "fd00::2/128", "192.168.50.0/24", "fd01::/64"},
        "bob": {"10.0.0.3/32", "fd00::3/128"},
        "phone": {"10.0.0.4/32", "fd00::4/128"},
    }


def test_a_client_reaches_everything_through_the_server(state: State) -> None:
    assert set(peers(state, "bob")) == {"hub"}
    assert set(peers(state, "bob")["hub"]["allowed_ips"]) == {
        "10.0.0.0/24",
        "fd00::/64",
        "172.20.0.0/24",
        "192.168.50.0/24",
        "fd01::/64",
    }


def test_what_is_behind_a_client_is_not_looked_for_at_the_server(state: State) -> None:
    allowed = peers(state, "alice")["hub"]["allowed_ips"]
    assert "172.20.0.0/24" in allowed
    assert not {"192.168.50.0/24", "fd01::/64"} & set(allowed)


def test_clients_know_where_the_server_is_and_keep_the_way_open(state: State) -> None:
    hub = next(each for each in state.values() if isinstance(each, Address) and each.scope == "ltk-t-hub")
    alice, bob = peers(state, "alice")["hub"], peers(state, "bob")["hub"]
    assert hub.device == "eth0"
    assert alice["endpoint"] == bob["endpoint"] == f"{hub.interface.ip}:9000"
    assert (alice["keepalive"], bob["keepalive"]) == (20, 7)
    assert {peer["endpoint"] for peer in peers(state, "hub").values()} == {None}
    assert {peer["keepalive"] for peer in peers(state, "hub").values()} == {0}


def test_isolation_is_told_to_the_server_alone(state: State) -> None:
    assert [config(state, node)["isolation"] for node in ("hub", "alice", "bob")] == [True, False, False]


def test_a_stock_peer_is_configured_on_the_server_and_not_run(state: State) -> None:
    assert [key for key in state if key[0] in ("daemon", "tun") and key[1] == "ltk-t-phone"] == []
    assert peers(state, "hub")["phone"]["public_key"] == PHONE_KEY
    assert peers(state, "hub")["phone"]["role"] == "wireguard"
    assert not [each for each in state.values() if isinstance(each, Secret) and "phone" in each.path]


def test_each_node_has_its_device_with_its_addresses(state: State) -> None:
    assert state["tun", "ltk-t-bob", "wg0"] == Tun(
        "ltk-t-bob", "wg0", 1400, super_packet=largest_super_packet(1400)
    )
    on_it = {str(a.interface) for a in state.values() if isinstance(a, Address) and a.device == "wg0"}
    assert on_it == {"10.0.0.3/24", "fd00::3/64"}
    assert (config(state, "bob")["device"], config(state, "bob")["mtu"]) == ("wg0", 1400)


def test_subnets_behind_others_are_routed_into_the_tunnel_and_own_ones_are_not(state: State) -> None:
    def through(node: str, device: str) -> set[str]:
        routes = [each for each in state.values() if isinstance(each, Route) and each.device == device]
        return {str(each.destination) for each in routes if each.scope == f"ltk-t-{node}"}

    assert through("hub", "ltk0") == {"192.168.50.0/24", "fd01::/64"}
    assert through("alice", "ltk0") == {"172.20.0.0/24"}
    assert through("bob", "wg0") == {"172.20.0.0/24", "192.168.50.0/24", "fd01::/64"}
    assert ("route", "ltk-t-alice", str(ip_network("192.168.50.0/24"))) not in state


def test_a_node_with_a_subnet_behind_it_forwards_and_the_others_do_not(state: State) -> None:
    forwarding = {
        each.scope
        for each in state.values()
        if isinstance(each, Setting) and each.setting == "net.ipv4.ip_forward" and each.value == "1"
    }
    assert {"ltk-t-hub", "ltk-t-alice"} <= forwarding
    assert "ltk-t-bob" not in forwarding


def test_the_public_keys_that_peers_are_told_belong_to_the_private_keys_that_are_kept(state: State) -> None:
    secrets = {each.path: each for each in state.values() if isinstance(each, Secret)}
    for node in ("alice", "bob"):
        kept = secrets[config(state, node)["private_key_file"]]
        public = encode_key(public_key_of(decode_key(kept.value)))
        assert peers(state, "hub")[node]["public_key"] == public
        daemon = state["daemon", f"ltk-t-{node}", node]
        assert isinstance(daemon, Daemon)
        assert daemon.public_key == public


def test_without_a_pre_shared_key_nobody_is_told_of_one(state: State) -> None:
    assert {peer["preshared_key_file"] for peer in peers(state, "hub").values()} == {None}
    daemon = state["daemon", "ltk-t-hub", "hub"]
    assert isinstance(daemon, Daemon)
    assert daemon.psk_ids == {"alice": None, "bob": None, "phone": None}


def test_a_changed_pre_shared_key_is_a_difference_in_every_daemon_and_in_its_file(
    parse: Callable[[str], Topology], monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = parse(YAML.replace("mtu: 1400", "mtu: 1400, psk: {env: T_PSK}"))
    monkeypatch.setenv("T_PSK", encode_key(b"\1" * 32))
    before = want(topology)
    keep_private_keys(before)
    monkeypatch.setenv("T_PSK", encode_key(b"\2" * 32))
    reasons = {str(each.resource): each.reason for each in plan(want(topology), before)}
    daemons = {f"daemon {name}" for name in ("alice", "bob", "hub")}
    assert set(reasons) == {f"secret {psk_file(topology.name)}", *daemons}
    assert {reasons[name] for name in daemons} == {"a key has changed"}


def keep_private_keys(state: State) -> None:
    """Do with the secrets what applying does."""
    for secret in state.values():
        if isinstance(secret, Secret):
            path = Path(secret.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secret.value)


def test_keys_that_were_made_once_are_kept(parse: Callable[[str], Topology]) -> None:
    topology = parse(YAML)
    first = want(topology)
    assert plan(want(topology), first), "without the files, each look makes new keys"
    keep_private_keys(first)
    assert plan(want(topology), first) == []
