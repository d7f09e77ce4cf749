"""NATs by preset and spelled out, sites behind sites, ports that lead inside: what is taken and refused."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from bad_files import check_the_only_problem, lab, problems_of

from ltk.topology.expand import render
from ltk.topology.expanded import Forward, Lab, Topology
from ltk.topology.load import parse_topology
from ltk.topology.nats import PRESETS, Nat, NatFiltering, NatMapping, NatPreset, Ports, Unsolicited


def parsed(text: str) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/"))


def the_lab(text: str) -> Lab:
    found = parsed(text).lab
    assert found is not None
    return found


def home(nat: str) -> Nat:
    return the_lab(lab(home=f"{{nat: {nat}, hosts: [alice]}}")).site("home").nat


@pytest.mark.parametrize("preset", NatPreset)
def test_a_preset_is_the_same_spelled_out_and_renders_as_that(preset: NatPreset) -> None:
    topology = parsed(lab(home=f"{{nat: {preset}, hosts: [alice]}}"))
    assert topology.lab
    assert topology.lab.site("home").nat == PRESETS[preset]
    assert parsed(render(topology)) == topology


def test_keys_of_a_nat_are_taken_over_those_of_the_preset() -> None:
    assert home("{preset: home, hairpin: false}") == PRESETS[NatPreset.PORT_RESTRICTED]
    assert home("{filtering: endpoint-independent}") == PRESETS[NatPreset.FULL_CONE]
    assert home("{lifetime: 45s}").lifetime == 45
    assert home("{preset: firewall, unsolicited: reject}").unsolicited is Unsolicited.REJECT


def test_a_mapping_by_destination_has_random_ports_unless_they_are_stated() -> None:
    for mapping in (NatMapping.ADDRESS_DEPENDENT, NatMapping.ADDRESS_AND_PORT_DEPENDENT):
        assert home(f"{{mapping: {mapping}}}").ports is Ports.RANDOM
        assert home(f"{{mapping: {mapping}, ports: sequential}}").ports is Ports.SEQUENTIAL
    assert home("{preset: symmetric, mapping: endpoint-independent}").ports is Ports.PRESERVE


def test_without_translation_an_open_filter_is_a_plain_router() -> None:
    nat = home("{mapping: none, filtering: endpoint-independent}")
    assert nat.is_open
    assert nat == PRESETS[NatPreset.NONE]
    assert not home("{preset: firewall}").is_open
    assert home("firewall").filtering is NatFiltering.ADDRESS_AND_PORT_DEPENDENT


CARRIER = "    carrier: {nat: cgnat, lan: 100.64.0.0/24}\n"


def test_a_router_behind_another_has_an_address_of_its_lan() -> None:
    made = the_lab(lab(home="{nat: home, behind: carrier, hosts: [alice]}", sites=CARRIER))
    inner, outer = made.site("home"), made.site("carrier")
    assert inner.wan == (ip_address("100.64.0.2"),)
    assert inner.gateways == (outer.lan[0].ip,) == (ip_address("100.64.0.1"),)
    assert outer.gateways == made.core


def test_a_router_behind_a_firewall_has_a_public_address() -> None:
    made = the_lab(
        lab(home="{nat: home, behind: office, hosts: [alice]}", sites="    office: {nat: firewall}\n")
    )
    assert made.site("home").wan[0] in made.internet[0]
    assert made.site("home").gateways == made.site("office").wan


def test_copies_stand_behind_copies_one_behind_each() -> None:
    text = lab(
        alice="{count: 2}",
        home="{count: 2, nat: home, behind: carrier, hosts: [alice]}",
        sites="    carrier: {count: 2, nat: cgnat}\n",
    )
    made = the_lab(text)
    assert [made.site(f"home-0{n}").behind for n in (1, 2)] == ["carrier-01", "carrier-02"]
    assert parsed(render(parsed(text))) == parsed(text)


def test_clients_find_a_server_behind_two_nats_at_the_outer_ones_port() -> None:
    topology = parsed(
        lab(
            cloud="{nat: home, behind: carrier, forward: {udp/5000: 'hub:51820'}, hosts: [hub]}",
            sites="    carrier: {nat: symmetric, forward: {udp/4000: 'cloud:5000'}}\n",
        )
    )
    assert topology.lab
    assert topology.server.endpoint == f"{topology.lab.site('carrier').wan[0]}:4000"
    assert topology.lab.site("carrier").forward == (Forward("udp", 4000, "cloud", 5000),)
    assert parsed(render(topology)) == topology


def test_clients_find_a_server_that_is_served_one_to_one_at_its_own_port() -> None:
    topology = parsed(lab(cloud="{nat: home, one_to_one: hub, hosts: [hub]}"))
    assert topology.lab
    assert topology.server.endpoint == f"{topology.lab.site('cloud').wan[0]}:51820"


CASES = {
    "preserved ports for each destination": (
        lab(home="{nat: {mapping: address-dependent, ports: §preserve}, hosts: [alice]}"),
        "lab.sites.home.nat.ports",
        "cannot preserve ports: one destination's would be another's (random, sequential or block-512)",
    ),
    "a hairpin without translation": (
        lab(home="{nat: {mapping: none, hairpin: §true}, hosts: [alice]}"),
        "lab.sites.home.nat.hairpin",
        "is for a NAT",
    ),
    "a firewall by address": (
        lab(home="{nat: {preset: firewall, filtering: §address-dependent}, hosts: [alice]}"),
        "lab.sites.home.nat.filtering",
        "a firewall without NAT",
    ),
    "a firewall that accepts": (
        lab(home="{nat: {preset: firewall, unsolicited: §accept}, hosts: [alice]}"),
        "lab.sites.home.nat.unsolicited",
        "contradicts",
    ),
    "a misspelt key of a NAT": (
        lab(home="{nat: {§hairpins: true}, hosts: [alice]}"),
        "lab.sites.home.nat.hairpins",
        "did you mean 'hairpin'?",
    ),
    "a misspelt mapping": (
        lab(home="{nat: {mapping: §endpoint-independant}, hosts: [alice]}"),
        "lab.sites.home.nat.mapping",
        "did you mean 'endpoint-independent'?",
    ),
    "half a second": (
        lab(home="{nat: {lifetime: §500ms}, hosts: [alice]}"),
        "lab.sites.home.nat.lifetime",
        "should be whole seconds, from 1s to 86400s",
    ),
    "behind nobody": (
        lab(home="{nat: home, behind: §carier, hosts: [alice]}", sites=CARRIER),
        "lab.sites.home.behind",
        "there is no site 'carier' (did you mean 'carrier'?)",
    ),
    "behind itself": (
        lab(home="{nat: home, behind: §home, hosts: [alice]}"),
        "lab.sites.home.behind",
        "home stands behind home: nobody is on the internet",
    ),
    "behind many": (
        lab(
            home="{nat: home, behind: §carrier, hosts: [alice]}",
            sites="    carrier: {nat: cgnat, count: 2}\n",
        ),
        "lab.sites.home.behind",
        "carrier is 2 sites (name one of them, such as carrier-01)",
    ),
    "public behind a NAT": (
        lab(home="{behind: §carrier, hosts: [alice]}", sites=CARRIER),
        "lab.sites.home.behind",
        "a site behind carrier translates",
    ),
    "the same LAN on both sides": (
        lab(home="{nat: home, lan: §100.64.0.0/16, behind: carrier, hosts: [alice]}", sites=CARRIER),
        "lab.sites.home.lan",
        "overlaps 100.64.0.0/24, the LAN of carrier",
    ),
    "a forward to nobody": (
        lab(home="{nat: home, forward: {udp/1: §bob}, hosts: [alice]}"),
        "lab.sites.home.forward.udp/1",
        "no host here is called 'bob'",
    ),
    "a forward of no port": (
        lab(home="{nat: home, forward: {sctp/1: §alice}, hosts: [alice]}"),
        "lab.sites.home.forward.sctp/1",
        "should be udp/PORT or tcp/PORT, is 'sctp/1'",
    ),
    "another port without NAT": (
        lab(home="{nat: firewall, forward: {udp/1: §'alice:2'}, hosts: [alice]}"),
        "lab.sites.home.forward.udp/1",
        "without NAT a port is the same on both sides",
    ),
    "one to one without NAT": (
        lab(home="{one_to_one: §alice, hosts: [alice]}"),
        "lab.sites.home.one_to_one",
        "is for a site with a NAT",
    ),
    "a server behind a firewall": (
        lab(cloud="{nat: firewall, hosts: [§hub]}"),
        "lab.sites.cloud.hosts[0]",
        "nobody can reach the server hub behind the firewall of cloud",
    ),
    "a server whose forward leads elsewhere": (
        lab(cloud="{nat: home, forward: {udp/51820: 'hub:9'}, hosts: [§hub]}"),
        "lab.sites.cloud.hosts[0]",
        "nobody can reach the server hub behind the home NAT of cloud",
    ),
}


@pytest.mark.parametrize(("marked", "key", "fragment"), CASES.values(), ids=CASES)
def test_a_router_that_cannot_be_gets_one_message_at_its_place(marked: str, key: str, fragment: str) -> None:
    check_the_only_problem(marked, key, fragment)


def test_sites_that_go_round_in_a_circle_are_all_named() -> None:
    text = lab(
        home="{nat: home, behind: two, hosts: [alice]}",
        sites="    two: {nat: home, behind: home}\n    three: {nat: home, behind: two}\n",
    )
    problems = problems_of(text).problems
    assert [each.key for each in problems] == ["lab.sites.home.behind", "lab.sites.two.behind"]
    assert "home stands behind two stands behind home" in problems[0].message
