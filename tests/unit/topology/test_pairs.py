"""What the file says of two clients in particular: what follows from it, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_files import check_the_only_problem, problems_of
from bad_files import lab as lab_file

from ltk.topology.expanded import HardNat, P2p, Pair, PathPolicy, Topology
from ltk.topology.load import parse_topology
from ltk.topology.render import render


def three(pairs: str, *, network: str = "", alice: str = "", hub: str = "") -> str:
    """A server, the clients alice, bob and c-01 to c-03, a stock peer, and `pairs`."""
    return lab_file(
        network=f"{{subnet: 10.0.0.0/24{network}}}",
        hub=f"{{role: server{hub}}}",
        alice=f"{{{alice}}}",
        more="  bob: {}\n  c: {count: 3}\n  phone: {role: wireguard}\n",
        home="{nat: symmetric, hosts: [alice, bob, c, phone]}",
    ) + (f"pairs: {pairs}\n" if pairs else "")


def parse(text: str) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/somewhere"))


def pair_of(topology: Topology, one: str, other: str) -> tuple[P2p, PathPolicy]:
    found = topology.pair(topology.node(one), topology.node(other))
    return found.p2p, found.path


def test_what_a_pair_says_goes_before_its_nodes_which_go_before_the_network() -> None:
    text = three("[{between: [bob, alice], p2p: on-demand}]", network=", p2p: eager", alice="p2p: off")
    topology = parse(text)
    assert pair_of(topology, "alice", "bob") == (P2p.ON_DEMAND, PathPolicy.AUTO)
    assert pair_of(topology, "bob", "alice") == (P2p.ON_DEMAND, PathPolicy.AUTO)
    assert pair_of(topology, "alice", "c-01") == (P2p.OFF, PathPolicy.AUTO)
    assert pair_of(topology, "bob", "c-01") == (P2p.EAGER, PathPolicy.AUTO)


def test_the_less_of_two_wishes_for_hard_nats_counts_and_either_key_may_stand_alone() -> None:
    text = three(
        "[{between: [bob, c-01], p2p: {hard-nat: birthday}}]",
        network=", p2p: {mode: eager, hard-nat: predict}",
        alice="p2p: {hard-nat: off}",
    )
    topology = parse(text)
    wishes = {
        pair: topology.pair(topology.node(pair[0]), topology.node(pair[1]))
        for pair in (("alice", "bob"), ("bob", "c-02"), ("bob", "c-01"))
    }
    assert [each.p2p for each in wishes.values()] == [P2p.EAGER] * 3
    assert [each.hard_nat for each in wishes.values()] == [HardNat.OFF, HardNat.PREDICT, HardNat.BIRTHDAY]
    assert parse(render(topology)) == topology
    assert parse(three("")).node("alice").hard_nat is HardNat.BIRTHDAY, "the default"


def test_a_pair_that_states_a_path_alone_takes_the_rest_from_its_nodes() -> None:
    topology = parse(three("[{between: [alice, c-02], path: direct-only}]", alice="p2p: eager"))
    assert topology.pairs == (Pair(("alice", "c-02"), P2p.EAGER, HardNat.BIRTHDAY, PathPolicy.DIRECT_ONLY),)
    assert pair_of(topology, "alice", "c-01") == (P2p.EAGER, PathPolicy.AUTO)


def test_relay_only_is_no_contradiction_where_the_others_are_eager() -> None:
    topology = parse(three("[{between: [alice, bob], path: relay-only}]", network=", p2p: eager"))
    assert pair_of(topology, "alice", "bob")[1] is PathPolicy.RELAY_ONLY


def test_pairs_and_metrics_survive_rendering() -> None:
    text = three(
        "[{between: [bob, c-03], p2p: off}, {between: [bob, alice], path: relay-only}]",
        alice="metrics: '[0::1]:9586'",
    )
    topology = parse(text)
    assert [pair.between for pair in topology.pairs] == [("bob", "c-03"), ("bob", "alice")]
    assert topology.node("alice").metrics == "[::1]:9586"
    assert parse(render(topology)) == topology


def test_metrics_by_default_are_those_of_all_daemons() -> None:
    text = three("").replace("defaults: {}", "defaults: {node: {metrics: '127.0.0.1:9586'}}")
    served = {node.name: node.metrics for node in parse(text).nodes}
    assert served.pop("phone") is None, "a stock peer has no daemon"
    assert set(served.values()) == {"127.0.0.1:9586"}


CASES = {
    "a stranger": (
        "[{between: [alice, §bbo], p2p: off}]",
        "pairs[0].between[1]",
        "there is no node 'bbo' (did you mean 'bob'?)",
    ),
    "the server": ("[{between: [§hub, bob], p2p: off}]", "pairs[0].between[0]", "hub is the server"),
    "a stock peer": (
        "[{between: [bob, §phone], p2p: off}]",
        "pairs[0].between[1]",
        "phone is a stock WireGuard peer (a pair is two clients)",
    ),
    "all copies": (
        "[{between: [bob, §c], p2p: off}]",
        "pairs[0].between[1]",
        "c is 3 nodes (name one of them, such as c-01)",
    ),
    "a node with itself": (
        "[{between: [bob, §bob], p2p: off}]",
        "pairs[0].between[1]",
        "no pair with itself",
    ),
    "a pair twice": (
        "[{between: [alice, bob], p2p: off}, §{between: [bob, alice], path: relay-only}]",
        "pairs[1]",
        "bob and alice are a pair above already (see pairs[0])",
    ),
    "one name": ("[{between: §[bob], p2p: off}]", "pairs[0].between", "should have 2 entries, has 1"),
    "three names": (
        "[{between: §[alice, bob, c-01], p2p: off}]",
        "pairs[0].between",
        "should have 2 entries, has 3",
    ),
    "no list of names": ("[{between: §alice, p2p: off}]", "pairs[0].between", "should be a list"),
    "no word for hard NATs": (
        "[{between: [alice, bob], p2p: {hard-nat: §guess}}]",
        "pairs[0].p2p.hard-nat",
        "should be off, predict or birthday, is 'guess'",
    ),
    "an unknown key inside": (
        "[{between: [alice, bob], p2p: {§hard_nat: off}}]",
        "pairs[0].p2p.hard_nat",
        "did you mean 'hard-nat'?",
    ),
    "nothing said": ("[§{between: [alice, bob]}]", "pairs[0]", "add p2p or path"),
    "an unknown key": (
        "[{between: [alice, bob], §pth: relay-only}]",
        "pairs[0].pth",
        "did you mean 'path'?",
    ),
    "an unknown path": (
        "[{between: [alice, bob], path: §relay}]",
        "pairs[0].path",
        "should be auto, relay-only or direct-only, is 'relay'",
    ),
    "no way at all": (
        "[{between: [alice, bob], p2p: off, path: §direct-only}]",
        "pairs[0].path",
        "nothing could pass",
    ),
    "a path that may not be used": (
        "[{between: [alice, bob], p2p: eager, path: §relay-only}]",
        "pairs[0].path",
        "may not use",
    ),
    "no mapping": ("[§alice]", "pairs[0]", "its keys are between, p2p, path"),
}


@pytest.mark.parametrize(("pairs", "key", "words"), CASES.values(), ids=CASES)
def test_a_pair_that_cannot_be_meant_gets_one_message_at_the_exact_place(
    pairs: str, key: str, words: str
) -> None:
    check_the_only_problem(three(pairs), key, words)


def test_pairs_are_a_list() -> None:
    text = three("{alice: bob}").replace("pairs:", "§pairs:")
    check_the_only_problem(text, "pairs", "should be a list, is a mapping")


def test_direct_only_is_refused_where_the_nodes_have_direct_paths_off() -> None:
    text = three("[{between: [alice, bob], path: §direct-only}]", alice="p2p: off")
    check_the_only_problem(text, "pairs[0].path", "nothing could pass")


def test_an_isolating_server_leaves_nothing_to_say_of_a_pair() -> None:
    text = three("[§{between: [alice, bob], path: relay-only}]", hub=", isolation: true")
    check_the_only_problem(text, "pairs[0]", "hub keeps its clients apart")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("9586", "should be HOST:PORT, is the number 9586"),
        ("'localhost:9586'", "should begin with an IP address"),
        ("'127.0.0.1'", "should be HOST:PORT"),
        ("'127.0.0.1:0'", "a port from 1 to 65535"),
        ("'::1:9586'", "stands in brackets"),
    ],
)
def test_metrics_are_served_at_an_address_and_a_port(value: str, words: str) -> None:
    check_the_only_problem(three("", alice=f"metrics: §{value}"), "nodes.alice.metrics", words)


def test_metrics_of_a_stock_peer_are_refused() -> None:
    text = three("").replace("{role: wireguard}", "{role: wireguard, metrics: §'127.0.0.1:9586'}")
    check_the_only_problem(text, "nodes.phone.metrics", "no daemon that could serve them")


@pytest.mark.parametrize(
    "text",
    [
        three("[{between: [alice, bob], p2p: off}]").replace("alice: {}", "alice: {role: clint}"),
        three("[{between: [alice, c-01], p2p: off}]").replace("count: 3", "count: many"),
        three("[{between: [alice, bob], p2p: of}]"),
    ],
    ids=["a refused role", "a refused count", "a refused wish"],
)
def test_one_mistake_causes_no_second_message(text: str) -> None:
    assert len(problems_of(text).problems) == 1, str(problems_of(text))
