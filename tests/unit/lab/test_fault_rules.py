"""What faults are in the network: which rules in which places, and which topology."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ltk.errors import InvalidInputError
from ltk.lab import sites
from ltk.lab.faults import chains, read_name, sources
from ltk.lab.overlay import applied, settled
from ltk.reconcile.plan import plan
from ltk.reconcile.resources import Route, State, state_of
from ltk.topology.expanded import Lab, Topology
from ltk.topology.faults import ChangeAddress, ChangeLink, Move, parse
from ltk.topology.load import parse_topology

FILE = """
name: t
network: {subnet: 10.0.0.0/24}
nodes: {hub: {role: server}, alice: {}, anne: {}, bob: {}, carol: {}, dora: {}}
lab:
  sites:
    cloud: {hosts: [hub, dora]}
    carrier: {nat: cgnat, lan: 100.64.0.0/24}
    home: {nat: port-restricted, behind: carrier, hosts: [alice, anne]}
    flat: {nat: port-restricted, behind: carrier, hosts: [carol]}
    office: {nat: port-restricted, hosts: [bob], forward: {udp/4500: bob}}
"""


def topology(text: str = FILE) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/"))


HERE = topology()
EPHEMERAL = (32768, 60999)  # net.ipv4.ip_local_port_range, unless somebody has set it


def lab_of(given: Topology) -> Lab:
    assert given.lab is not None
    return given.lab


LAB = lab_of(HERE)


def wan(site: str) -> str:
    return str(LAB.site(site).wan[0])


def own(node: str) -> str:
    return str(LAB.host(node).addresses[0].ip)


@pytest.mark.parametrize(
    ("source", "target", "seen"),
    [
        ("alice", "bob", [wan("carrier")]),
        ("alice", "office", [wan("carrier")]),
        ("bob", "alice", [wan("office")]),
        ("hub", "alice", [own("hub")]),
        ("alice", "anne", [own("alice")]),
        ("alice", "carol", [wan("home"), wan("carrier")]),
        ("home", "flat", [wan("home"), wan("carrier")]),
        ("cloud", "bob", [wan("cloud"), own("hub"), own("dora")]),
        ("hub", "dora", [own("hub")]),
    ],
)
def test_a_place_has_the_address_that_the_last_nat_on_the_way_gives_it(
    source: str, target: str, seen: list[str]
) -> None:
    """Behind one carrier they meet in its LAN, or where it turns packets around."""
    assert list(map(str, sources(LAB, source, target))) == seen


def places(words: str) -> dict[str, str]:
    """By namespace and hook, the rules of a fault."""
    return {
        f"{chain.scope.removeprefix('ltk-t-')} {chain.name.split('-')[2]}": chain.text
        for chain in chains(HERE, parse(words, HERE), 5)
    }


def test_a_block_stands_at_both_ends_and_one_way_at_the_far_one() -> None:
    both = places("block alice bob")
    assert both.keys() == {"bob arrival", "alice arrival"}
    assert f"ip saddr {{ {wan('carrier')} }}" in both["bob arrival"]
    assert f"ip saddr {{ {wan('office')} }}" in both["alice arrival"]
    assert places("block alice bob --one-way").keys() == {"bob arrival"}
    assert "meta l4proto udp" in places("block alice bob --udp")["bob arrival"]


def test_who_is_cut_off_from_all_is_so_from_those_on_the_same_lan_too() -> None:
    assert places("block alice").keys() == {"alice arrival", "home arrival", "anne arrival"}
    assert places("block alice --one-way").keys() == {"home arrival", "anne arrival"}
    assert places("block home").keys() == {"home arrival", "home departure"}


def test_the_nth_of_a_class_is_counted_last() -> None:
    text = places("drop alice hub --class handshake --nth 2-3")["hub arrival"]
    match, _, counted = text.partition(" numgen ")
    assert "@th,64,8 1-2" in match
    assert counted.startswith("inc mod 2147483647 1-2 counter drop")
    assert "numgen" not in places("drop alice hub --class handshake")["hub arrival"]


def test_new_ports_are_for_routers_that_would_give_the_same_and_leave_forwarded_ones_alone() -> None:
    text = places("flush-nat office --new-ports")["office ports"]
    assert text.index("sport 4500 return") < text.index(f"snat ip to {wan('office')}:63500-63999")
    assert places("flush-nat carrier --new-ports") == {}
    assert places("flush-nat office") == {}


def test_new_ports_are_none_that_a_host_has_by_itself_and_others_each_time() -> None:
    blocks = [
        tuple(map(int, re.findall(r":(\d+)-(\d+)", chain.text)[0]))
        for number in range(1, 10)
        for chain in chains(HERE, parse("flush-nat office --new-ports", HERE), number)
    ]
    assert len(set(blocks)) == 9
    for first, last in blocks:
        assert EPHEMERAL[1] < first <= last <= 65535, "the kernel keeps a port that is within the range"


def test_a_chain_says_its_number_and_changes_its_name_with_its_rules() -> None:
    one, again, other = (
        chains(each, parse("block office alice", each), 7)[0].name
        for each in (HERE, HERE, changed("address office"))
    )
    assert read_name(one) == (7, False)
    assert one == again != other
    assert read_name(chains(HERE, parse("block alice", HERE), 8, stated=True)[0].name) == (8, True)
    assert read_name("somebody-elses") is None


def changed(words: str, given: Topology = HERE) -> Topology:
    fault = parse(words, given)
    assert isinstance(fault, ChangeAddress | ChangeLink | Move)
    return applied(given, settled(given, fault))


def state(given: Topology) -> State:
    return state_of(sites.resources("t", lab_of(given)))


def test_a_router_with_another_address_is_another_next_hop_and_translates_to_it() -> None:
    after = lab_of(changed("address office 203.0.113.77"))
    assert list(map(str, after.site("office").wan)) == ["203.0.113.77"]
    routes = [
        each for each in state(changed("address office 203.0.113.77")).values() if isinstance(each, Route)
    ]
    assert "203.0.113.77/32" in {str(each.destination) for each in routes}
    cloud = lab_of(changed("address cloud"))
    assert cloud.host("hub").gateways == cloud.site("cloud").wan != LAB.site("cloud").wan


def test_an_open_choice_is_the_lowest_free_address_and_is_kept_in_the_words() -> None:
    fault = parse("address home", HERE)
    assert isinstance(fault, ChangeAddress)
    assert str(settled(HERE, fault)) == "address home 100.64.0.4"
    moved = parse("move alice cloud", HERE)
    assert isinstance(moved, Move)
    assert str(settled(HERE, moved)).startswith("move alice cloud 203.0.113.")


def test_who_moves_has_the_new_sites_gateway_and_leaves_no_port_behind() -> None:
    after = lab_of(changed("move bob flat"))
    assert after.site("office").hosts == after.site("office").forward == ()
    assert after.site_of("bob").name == "flat"
    assert after.host("bob").gateways == (after.site("flat").lan[0].ip,)
    assert plan(state(changed("move bob flat")), state(HERE)) != []


def test_a_link_keeps_the_conditions_that_are_not_named() -> None:
    once = changed("link office delay=20ms loss=1%")
    twice = lab_of(changed("link office loss=2%", once)).site("office").link
    assert twice is not None
    assert (twice.delay, twice.loss) == (20_000, 20_000)
    assert lab_of(changed("link bob rate=1mbit")).host("bob").link is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("address hub", "clients find the server at"),
        ("address office 10.9.9.9", "is no address of 203.0.113.0/24"),
        (f"address office {wan('carrier')}", "is somebody's already"),
        ("address office 203.0.113.255", "is no address of"),
        ("move alice office 192.168.77.1", "is no address of"),
        ("link office jitter=5ms", "a jitter of 5ms is more than the delay of 0ms"),
        ("link office reorder=5%", "without a delay there is nothing to overtake"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(words: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        changed(words)
