"""Who is led where, and what a node that leads needs: as resources, in a lab and on real hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltk.kernel.policy import underlay_mark
from ltk.reconcile.desired import desired, desired_here
from ltk.reconcile.resources import (
    HERE,
    Daemon,
    Namespace,
    OwnSetting,
    Resource,
    Route,
    Rule,
    Ruleset,
    Setting,
    State,
    Tun,
)
from ltk.reconcile.secrets import keyring
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology

KEYS = (
    "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
    "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
    "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=",
)
TRIO = f"""
name: trio
network: {{subnet: [10.9.0.0/24, "fd09::/64"]}}
nodes:
  alice: {{public_key: {KEYS[0]}}}
  gate: {{routes: [0.0.0.0/0, 192.168.50.0/24], public_key: {KEYS[1]}}}
  hub: {{role: server, endpoint: "192.0.2.1:51820", public_key: {KEYS[2]}}}
"""
LAB = "lab: {sites: {cloud: {hosts: [hub, gate, alice]}}}\n"


def topology(here: str | None, yaml: str = TRIO) -> Topology:
    own = KEYS[("alice", "gate", "hub").index(here)] if here else ""
    text = yaml.replace(f", public_key: {own}", "").replace(f"public_key: {own}", "") if here else yaml
    return parse_topology(text.encode(), file="trio", folder=Path("/"), choose_here=lambda _n, _l: here)


def on(here: str, yaml: str = TRIO) -> State:
    wanted = topology(here, yaml)
    return desired_here(wanted, keyring(wanted))


def of(state: State, kind: type[Resource], scope: str = HERE) -> list[Resource]:
    return [each for each in state.values() if isinstance(each, kind) and each.scope == scope]


def test_a_client_is_led_by_a_table_of_its_own_and_keeps_the_main_one() -> None:
    state = on("alice")
    own = underlay_mark("trio")
    routes = {(str(each.destination), each.table) for each in of(state, Route) if isinstance(each, Route)}
    assert routes == {("192.168.50.0/24", 254), ("0.0.0.0/0", own)}
    assert len(of(state, Rule)) == 2, "of one family, since nobody leads the other"
    (daemon,) = of(state, Daemon)
    assert isinstance(daemon, Daemon)
    assert daemon.config["mark"] == own
    assert [each.name for each in of(state, OwnSetting)] == ["net.ipv4.conf.all.src_valid_mark"]


def test_the_server_goes_by_itself() -> None:
    state = on("hub")
    assert of(state, Rule) == []
    assert [each.name for each in of(state, Route)] == ["192.168.50.0/24"]


def test_who_leads_forwards_its_own_families_and_translates() -> None:
    state = on("gate")
    assert [each.name for each in of(state, OwnSetting)] == ["net.ipv4.ip_forward"]
    (ruleset,) = of(state, Ruleset)
    assert isinstance(ruleset, Ruleset)
    assert ruleset.name == "table inet ltk-trio"
    assert 'ip saddr 10.9.0.0/24 oifname != "ltk-trio" counter masquerade' in ruleset.text
    assert "ip6 saddr" not in ruleset.text
    assert of(state, Rule) == []


@pytest.mark.parametrize(
    ("written", "translates"),
    [
        ("routes: [0.0.0.0/0, 192.168.50.0/24], masquerade: false", False),
        ("routes: 192.168.50.0/24", False),
        ("routes: 192.168.50.0/24, masquerade: true", True),
    ],
)
def test_what_is_translated_is_the_files_to_say(written: str, translates: bool) -> None:
    state = on("gate", TRIO.replace("routes: [0.0.0.0/0, 192.168.50.0/24]", written))
    assert bool(of(state, Ruleset)) is translates


def test_what_lies_behind_two_ways_is_sent_to_whom_it_lies_behind() -> None:
    """The server has all of it too, and is last in the file: the later of two would count."""
    (daemon,) = of(on("alice"), Daemon)
    assert isinstance(daemon, Daemon)
    assert [peer["name"] for peer in daemon.config["peers"]] == ["hub", "gate"]


def test_a_real_host_is_nowhere_but_here_and_a_lab_everywhere_else() -> None:
    assert {each.scope for each in on("alice", TRIO + LAB).values()} == {HERE}
    lab = topology(None, TRIO + LAB)
    assert lab.lab is not None
    state = desired(lab, lab.lab, keyring(lab))
    assert of(state, Tun) == of(state, OwnSetting) == []
    assert len(of(state, Rule, "ltk-trio-alice")) == 2
    assert len(of(state, Namespace, "ltk-trio-alice")) == 1
    assert any(each.name == "net.ipv4.ip_forward" for each in of(state, Setting, "ltk-trio-gate"))


def test_a_lab_without_a_way_out_marks_nothing() -> None:
    lab = topology(None, TRIO.replace("0.0.0.0/0, ", "") + LAB)
    assert lab.lab is not None
    state = desired(lab, lab.lab, keyring(lab))
    daemons = [each for each in state.values() if isinstance(each, Daemon)]
    assert {each.config["mark"] for each in daemons} == {0}
