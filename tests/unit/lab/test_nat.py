"""Each kind of NAT is the rules that the reference says it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ltk.lab.nat import internet_rules, router_rules
from ltk.reconcile.resources import Ruleset
from ltk.topology.load import parse_topology
from ltk.topology.nats import NatPreset

KINDS = [kind for kind in NatPreset if kind is not NatPreset.NONE]
TRANSLATING = [kind for kind in KINDS if kind is not NatPreset.FIREWALL]


def ruleset(nat: str, more: str = "", internet: str = "203.0.113.0/24") -> Ruleset:
    text = f"""
name: t
network: {{subnet: 10.0.0.0/24}}
nodes: {{hub: {{role: server}}, alice: {{}}}}
lab:
  internet: {internet}
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: {nat}, hosts: [alice]{more}}}
"""
    lab = parse_topology(text.encode(), file="t.yaml", folder=Path("/")).lab
    assert lab is not None
    return router_rules("ltk-t-home", lab, lab.site("home"))


def rules(text: str) -> dict[str, list[str]]:
    """The rules of each chain, without their marks."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if chain := re.match(r"  chain (\w+) \{", line):
            found.setdefault(chain[1], [])
            last = chain[1]
        elif rule := re.match(r'    (.*) comment "\w+"$', line):
            found[last].append(rule[1])
    return found


def router(nat: str, more: str = "", internet: str = "203.0.113.0/24") -> dict[str, list[str]]:
    return rules(ruleset(nat, more, internet).text)


WAN = "203.0.113.4"  # after the core, the cloud and the hub


def test_a_port_restricted_nat_leaves_everything_to_connection_tracking() -> None:
    chains = router("port-restricted")
    assert chains["mapping"] == [f"snat ip to {WAN}"]
    assert chains["source"] == ['oifname "wan" meta nfproto ipv4 jump mapping']
    assert chains["inwards"] == []
    assert "learn" not in chains


def test_a_symmetric_nat_takes_a_fresh_random_port_for_each_destination() -> None:
    assert router("symmetric")["mapping"][0].endswith(f"udp snat ip to {WAN}:10000-29999 fully-random")


def test_one_port_for_all_destinations_is_looked_up_before_one_is_chosen() -> None:
    chosen = router("{ports: random}")["mapping"]
    assert chosen[0].endswith("ip saddr . udp sport map @mapped")
    by_address = router("{mapping: address-dependent}")["mapping"]
    assert by_address[0].endswith("ip saddr . udp sport . ip daddr map @mapped")


def test_a_weaker_filter_lets_in_by_what_was_learned() -> None:
    assert router("full-cone")["inwards"] == [
        f'iifname "wan" ip daddr {WAN} meta l4proto udp dnat ip to udp dport map @eim'
    ]
    (rule,) = router("restricted-cone")["inwards"]
    assert "udp dport . ip saddr @perm dnat" in rule


def test_a_hairpin_turns_around_both_ways() -> None:
    chains = router("home")
    assert any(rule.startswith('iifname "lan"') for rule in chains["inwards"])
    turned = f'oifname "lan" ip saddr 192.168.1.0/24 ct status dnat ct original ip daddr {WAN} jump mapping'
    assert turned in chains["source"]


def test_a_cap_counts_what_has_not_left_yet_and_drops_what_is_too_much() -> None:
    capped = ruleset("{preset: home, sessions: 64}")
    assert "set sessions { type ipv4_addr; size 65535; flags dynamic; }" in capped.text
    (rule,) = (rule for rule in rules(capped.text)["forward"] if "@sessions" in rule)
    assert rule.endswith("add @sessions { ip saddr ct count over 64 } counter name blocked drop")
    assert "sessions" not in ruleset("home").text


@pytest.mark.parametrize(("ipv6", "accepted"), [("none", 0), ("firewall", 0), ("open", 1)])
def test_ipv6_beside_a_nat_comes_in_where_the_file_opens_it(ipv6: str, accepted: int) -> None:
    forwarded = router("home", f", ipv6: {ipv6}", '[203.0.113.0/24, "2001:db8::/64"]')["forward"]
    assert forwarded.count('iifname "wan" meta nfproto ipv6 accept') == accepted
    assert forwarded[-1] == 'iifname "wan" counter name unsolicited drop'


def test_a_forward_comes_before_what_was_learned_and_keeps_its_port() -> None:
    chains = router("full-cone", ", forward: {udp/4000: 'alice:5000'}")
    assert chains["inwards"][0].endswith("udp dport 4000 dnat ip to 192.168.1.2:5000")
    assert chains["mapping"][0] == f"ip saddr 192.168.1.2 udp sport 5000 snat ip to {WAN}:4000"


def test_a_firewall_translates_nothing_and_opens_a_forwarded_port() -> None:
    chains = router("firewall", ", forward: {udp/4000: alice}")
    assert set(chains) == {"input", "forward"}
    assert 'iifname "wan" ip daddr 203.0.113.5 udp dport 4000 accept' in chains["forward"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_asked_for_is_dropped_without_a_word_and_counted(kind: NatPreset) -> None:
    chains = router(kind)
    for chain in ("input", "forward"):
        assert 'iifname "wan" ct state established,related accept' in chains[chain]
        assert chains[chain][-1] == 'iifname "wan" counter name unsolicited drop'


@pytest.mark.parametrize("kind", TRANSLATING)
def test_only_the_outside_is_filtered_but_for_what_may_not_leave(kind: NatPreset) -> None:
    chains = router(kind)
    inside = [rule for rule in chains["input"] + chains["forward"] if not rule.startswith('iifname "wan"')]
    assert all(rule.endswith("counter name blocked drop") for rule in inside)
    assert bool(inside) is (kind in (NatPreset.CORPORATE, NatPreset.HOTEL))


def test_kinds_differ_in_what_is_compared() -> None:
    prints = [ruleset(kind).fingerprint for kind in KINDS]
    assert len(set(prints)) == len(KINDS)
    assert ruleset("{lifetime: 30s}").fingerprint != ruleset("{lifetime: 60s}").fingerprint


def test_the_internet_counts_all_that_it_carries_and_drops_nothing() -> None:
    (chain,) = rules(internet_rules("ltk-t-internet").text).values()
    counted = [re.search(r"counter name (\w+)", rule) for rule in chain]
    assert [each[1] for each in counted if each] == [
        "carried_udp",
        "carried_tcp",
        "carried_icmp",
        "carried_icmpv6",
        "carried_other",
    ]
    assert not any("drop" in rule or "reject" in rule for rule in chain)
    assert all(rule.endswith("accept") for rule in chain[:-1]), "each packet is counted once"
