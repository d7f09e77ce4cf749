"""The words of faults: what they mean, that they read back, and what is refused in which words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.errors import InvalidInputError
from ltk.topology.expanded import Topology
from ltk.topology.faults import (
    Block,
    ChangeAddress,
    ChangeLink,
    Drop,
    Fault,
    FlushNat,
    Kill,
    MessageClass,
    Move,
    ReadOnlySecrets,
    RemoveTun,
    Stop,
    outwards,
    parse,
)
from ltk.topology.load import parse_topology
from ltk.topology.problems import InvalidTopologyError
from ltk.topology.stored import from_json, to_json

FILE = """
name: t
network: {subnet: 10.0.0.0/24}
nodes:
  hub: {role: server}
  alice: {}
  bob: {}
  phone: {role: wireguard, public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=}
lab:
  sites:
    cloud: {hosts: [hub]}
    carrier: {nat: cgnat, lan: 100.64.0.0/24}
    home: {nat: home, behind: carrier, hosts: [alice]}
    office: {nat: symmetric, hosts: [bob, phone]}
"""


def topology(text: str = FILE) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/"))


HERE = topology()
EXAMPLES: dict[str, Fault] = {
    "block alice bob": Block("alice", "bob"),
    "block alice --one-way": Block("alice", None, one_way=True),
    "block home office --one-way --udp": Block("home", "office", one_way=True, udp=True),
    "drop alice hub --class handshake": Drop("alice", "hub", MessageClass.HANDSHAKE),
    "drop alice hub --class data --nth 7": Drop("alice", "hub", MessageClass.DATA, 7, 7),
    "drop home hub --class stun --nth 1-5": Drop("home", "hub", MessageClass.STUN, 1, 5),
    "flush-nat home": FlushNat("home"),
    "flush-nat home --new-ports": FlushNat("home", new_ports=True),
    "address office": ChangeAddress("office"),
    "address office 203.0.113.99": ChangeAddress("office", (ip_address("203.0.113.99"),)),
    "move alice office": Move("alice", "office"),
    "link home rate=50mbit delay=20ms loss=5% reorder=1% duplicate=0.5% seed=3": ChangeLink(
        "home",
        (
            ("rate", 50_000_000),
            ("delay", 20_000),
            ("loss", 50_000),
            ("reorder", 10_000),
            ("duplicate", 5_000),
            ("seed", 3),
        ),
    ),
    "link alice rate=unlimited": ChangeLink("alice", (("rate", 0),)),
    "kill alice": Kill("alice"),
    "stop hub": Stop("hub"),
    "tun bob": RemoveTun("bob"),
    "secrets read-only": ReadOnlySecrets(),
}


@pytest.mark.parametrize("words", EXAMPLES)
def test_words_are_read_and_read_back(words: str) -> None:
    fault = parse(words, HERE)
    assert fault == EXAMPLES[words]
    assert parse(str(fault), HERE) == fault
    assert parse(words.split(), HERE) == fault


def test_options_stand_anywhere_and_take_their_value_either_way() -> None:
    assert parse("drop --nth=3 alice --class=data hub", HERE) == Drop("alice", "hub", MessageClass.DATA, 3, 3)


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        ("", "there is no fault 'nothing'", "There are: block"),
        ("blok alice bob", "there is no fault 'blok'", "Did you mean block?"),
        ("block alcie bob", "there is no node or site 'alcie'", "Did you mean alice?"),
        ("block alice alice", "it names one place twice", "It is: block A [B]"),
        ("block alice carrier", "alice stands behind carrier", "block alice"),
        ("block alice bob hub", "it has too few words, or too many", "It is: block A [B]"),
        ("block alice --udb", "it has no option '--udb'", "It is: block A [B]"),
        ("drop alice hub", "--class is missing", "There are: handshake"),
        ("drop alice hub --class dta", "--class is 'dta'", "There are: handshake"),
        ("drop alice hub --class data --nth 0", "--nth is '0'", "a number from 1"),
        ("drop alice hub --class data --nth 5-2", "--nth is '5-2'", "a number from 1"),
        ("drop alice hub --class data --nth", "--nth is ''", "a number from 1"),
        ("flush-nat cloud", "cloud has no NAT", "carrier, home, office"),
        ("flush-nat alice", "there is no site 'alice'", "There are: "),
        ("address home 300.1.1.1", "should be an IP address", "It is: address"),
        ("address home 203.0.113.9 203.0.113.10", "two addresses of one family", "It is: address"),
        ("move alice home", "alice stands in home already", "It is: move"),
        ("move hub home", "clients find the server where the file puts it", "apply it"),
        ("move alice nowhere", "there is no site 'nowhere'", "There are: "),
        ("link home", "it has too few words", "It is: link"),
        ("link home los=5%", "a link has no 'los'", "There are: rate"),
        ("link home loss=5", "loss should be from 0% to 100%, is '5'", "It is: link"),
        ("link home rate=5", "rate should be a rate, is '5'", "It is: link"),
        ("link home seed=-1", "seed should be a whole number", "It is: link"),
        ("kill home", "there is no node 'home'", "There are: "),
        ("secrets writable", "too few words, or too many", "It is: secrets read-only"),
        ("kill phone", "phone is a stock WireGuard peer", "It is: kill"),
        ('block "alice', "No closing quotation", ""),
    ],
)
def test_what_is_no_fault_is_refused_with_what_would_be_one(words: str, problem: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(words, HERE)
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")


def test_without_a_lab_there_is_nothing_to_break() -> None:
    with pytest.raises(InvalidInputError, match="the topology has no lab"):
        parse("block alice bob", replace(HERE, lab=None))


@given(st.lists(st.text(max_size=12), max_size=5))
def test_whatever_is_written_is_a_fault_or_refused(words: list[str]) -> None:
    try:
        parse(words, HERE)
    except InvalidInputError:
        return


def test_the_routers_on_the_way_out() -> None:
    assert HERE.lab is not None
    assert outwards(HERE.lab, "alice") == ["home", "carrier"]
    assert outwards(HERE.lab, "home") == ["carrier"]
    assert outwards(HERE.lab, "cloud") == []


STATED = FILE + "  faults:\n    - block alice  bob\n    - link office loss=1%\n"


def test_faults_that_the_file_states_are_kept_in_one_form() -> None:
    stated = topology(STATED)
    assert stated.lab is not None
    assert stated.lab.faults == ("block alice bob", "link office loss=1%")
    assert from_json(to_json(stated)) == stated


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("block alice carol", "there is no node or site 'carol'"),
        ("tun alice", "is over in a moment"),
        ("secrets read-only", "would keep the lab itself from being applied"),
        ("flush-nat home", "is over in a moment"),
        ("link office loss=1%", "is the same as one before"),
    ],
)
def test_a_fault_in_the_file_that_cannot_be_is_an_error_at_its_line(fault: str, said: str) -> None:
    with pytest.raises(InvalidTopologyError) as caught:
        topology(STATED + f"    - {fault}\n")
    assert said in str(caught.value)
    assert f"t.yaml:{len(STATED.splitlines()) + 1}:" in str(caught.value)
