"""`checks`, `run` and hosts without a tunnel: what follows from the file, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_files import OTHER_KEY, check_the_only_problem, real
from bad_files import lab as lab_file

from ltk.topology.expanded import Role, Topology
from ltk.topology.expected import Check, Claim, Program, Via
from ltk.topology.load import parse_topology
from ltk.topology.render import render
from ltk.topology.stored import from_json, to_json

HOSTS_ONLY = """\
name: chat
nodes:
  meet: {role: host, run: python3 meet.py}
  app: {role: host, count: 2, run: {command: ./app, folder: programs}}
lab:
  sites:
    cloud: {hosts: [meet]}
    home: {nat: home, hosts: [app], count: 2}
"""


def checked(checks: str, *, network: str = "", hub: str = "", alice: str = "", pairs: str = "") -> str:
    """A server, the clients alice, bob and c-01 to c-03, a host, a stock peer, and `checks`."""
    return lab_file(
        network=f"{{subnet: 10.0.0.0/24{network}}}",
        hub=f"{{role: server{hub}}}",
        alice=f"{{{alice}}}",
        more="  bob: {}\n  c: {count: 3}\n  web: {role: host}\n  phone: {role: wireguard}\n",
        home="{nat: symmetric, hosts: [alice, bob, c, web, phone]}",
    ) + (f"{pairs}checks: {checks}\n")


def pair(path: str) -> str:
    return f"pairs: [{{between: [alice, bob], path: {path}}}]\n"


def parse(text: str) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/somewhere"))


def test_a_check_is_made_explicit() -> None:
    text = "[{reach: [alice, bob], via: direct, loss: 1%, throughput: 1.5gbit, after: flush-nat home}]"
    (check,) = parse(checked(text)).checks
    assert check == Check(
        name="alice reaches bob directly, loses at most 1%, carries 1.5gbit, after flush-nat home",
        claim=Claim.REACH,
        nodes=("alice", "bob"),
        via=Via.DIRECT,
        within=10_000_000,
        loss=10_000,
        throughput=1_500_000_000,
        after=("flush-nat home",),
        program=None,
    )


def test_a_command_runs_in_the_folder_of_the_topology_or_from_there() -> None:
    text = "[{run: 'curl  web', on: web, within: 3s}, {run: {command: a, folder: b}, on: c-02, name: x}]"
    first, second = parse(checked(text)).checks
    assert (first.name, first.within) == ("web runs curl web", 3_000_000)
    assert first.program == Program("curl  web", "/somewhere")
    assert (second.name, second.program) == ("x", Program("a", "/somewhere/b"))


def test_hosts_alone_need_neither_a_server_nor_a_network() -> None:
    topology = parse(HOSTS_ONLY)
    assert topology.subnets == ()
    assert {(node.name, node.role, node.addresses) for node in topology.nodes} == {
        (name, Role.HOST, ()) for name in ("meet", "app-01", "app-02")
    }
    assert topology.node("app-02").run == Program("./app", "/somewhere/programs")


@pytest.mark.parametrize(
    "text",
    [
        HOSTS_ONLY,
        checked("[{reach: [alice, bob], via: relay, within: 2.5s, loss: 0%}, {unreachable: [hub, web]}]"),
        checked("[{run: {command: a, folder: b}, on: bob, after: [flush-nat home, block alice bob]}]"),
    ],
)
def test_what_is_rendered_or_stored_means_the_same(text: str) -> None:
    topology = parse(text)
    assert parse_topology(render(topology).encode(), file="t.yaml", folder=Path("/else")) == topology
    assert from_json(to_json(topology)) == topology


@pytest.mark.parametrize(
    ("text", "key", "fragment"),
    [
        (checked("[§{within: 1s}]"), "checks[0]", "exactly one of reach, unreachable and run, has none"),
        (
            checked("[§{reach: [hub, bob], unreachable: [hub, bob]}]"),
            "checks[0]",
            "has reach and unreachable",
        ),
        (checked("[§{run: ls}]"), "checks[0]", "both run and on"),
        (checked("[§{run: ls, on: bob, loss: 1%}]"), "checks[0]", "should not have loss"),
        (checked("[{unreachable: [§bobb, hub]}]"), "checks[0].unreachable[0]", "did you mean 'bob'?"),
        (
            checked("[{reach: [hub, §c]}]"),
            "checks[0].reach[1]",
            "c is 3 nodes (name one of them",
        ),
        (checked("[{run: ls, on: §nobody}]"), "checks[0].on", "there is no node 'nobody'"),
        (checked("[{reach: §[bob]}]"), "checks[0].reach", "should have 2 entries, has 1"),
        (checked("[{reach: [bob, §bob]}]"), "checks[0].reach[1]", "is no way from itself"),
        (checked("[{reach: [hub, bob], via: §direct}]"), "checks[0].via", "is for two clients"),
        (checked("[{reach: [alice, web], via: §relay}]"), "checks[0].via", "is for two clients"),
        (checked("[{reach: [bob, alice], via: §wire}]"), "checks[0].via", "should be direct, relay or any"),
        (checked("[{reach: [bob, hub], within: §0s}]"), "checks[0].within", "more than 0s"),
        (checked("[{reach: [bob, hub], throughput: §fast}]"), "checks[0].throughput", "should be a rate"),
        (
            checked("[{reach: [alice, bob], via: §direct}]", network=", p2p: off"),
            "checks[0].via",
            "alice and bob never look for a direct path: p2p is off (via: relay)",
        ),
        (
            checked(
                "[{reach: [bob, alice], via: §direct}]",
                pairs="pairs: [{between: [alice, bob], path: relay-only}]\n",
            ),
            "checks[0].via",
            "their path is relay-only",
        ),
        (
            checked(
                "[{reach: [bob, alice], via: §relay}]",
                pairs="pairs: [{between: [alice, bob], path: direct-only}]\n",
            ),
            "checks[0].via",
            "is direct-only",
        ),
        (
            checked("[{reach: §[alice, bob]}]", hub=", isolation: true"),
            "checks[0].reach",
            "hub keeps its clients apart",
        ),
        (
            checked("[{reach: [alice, hub], name: x}, {reach: [bob, hub], name: §x}]"),
            "checks[1].name",
            "is the name of checks[0] already",
        ),
        (
            checked("[{reach: [alice, hub], throughput: §51mbit}]").replace(
                "cloud: {", "cloud: {link: {rate: 50mbit}, "
            ),
            "checks[0].throughput",
            "at most 50mbit, the rate of the link of cloud",
        ),
        (
            HOSTS_ONLY.replace("count: 2, run", "count: 2, listen: §7, run"),
            "nodes.app.listen",
            "a host has none",
        ),
        (
            checked("[{reach: [bob, hub], after: §block bob nobody}]"),
            "checks[0].after",
            "no node or site 'nobody'",
        ),
        (HOSTS_ONLY.replace("python3 meet.py", "§[a]"), "nodes.meet.run", "should be a shell command"),
    ],
)
def test_what_cannot_be_meant_is_said_at_its_place(text: str, key: str, fragment: str) -> None:
    check_the_only_problem(text, key, fragment)


def test_who_has_a_tunnel_needs_a_network() -> None:
    marked = (
        "§name: t\nnodes: {hub: {role: server}, web: {role: host}}\nlab: {sites: {x: {hosts: [hub, web]}}}\n"
    )
    check_the_only_problem(marked, "network", "is missing")


def test_without_a_lab_there_are_neither_checks_nor_hosts_nor_programs() -> None:
    check_the_only_problem(real() + "checks: §[{reach: [alice, hub]}]\n", "checks", "are made in a lab")
    check_the_only_problem(real(more="  web: {role: §host}\n"), "nodes.web.role", "is a place in a lab")
    alice = f"{{public_key: {OTHER_KEY}, run: §ls}}"
    check_the_only_problem(real(alice=alice), "nodes.alice.run", "is for nodes of a lab")
