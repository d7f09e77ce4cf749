"""Each kind of NAT is the rules that the reference says it is."""

from __future__ import annotations

import re

import pytest

from ltk.lab.nat import internet_rules, router_rules
from ltk.topology.expanded import NatKind, Site

KINDS = [NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC]


def rules(text: str) -> dict[str, list[str]]:
    """The rules of each chain, without their marks."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if chain := re.match(r"  chain (\w+) ", line):
            found[chain[1]] = []
        elif rule := re.match(r'    (.*) comment "\w+"$', line):
            found[list(found)[-1]].append(rule[1])
    return found


def router(nat: NatKind) -> dict[str, list[str]]:
    return rules(router_rules("ltk-t-home", Site("home", nat, (), (), ())).text)


def test_a_port_restricted_nat_keeps_one_mapping_for_all_destinations() -> None:
    assert router(NatKind.PORT_RESTRICTED)["source"] == ['oifname "wan" masquerade']


def test_a_symmetric_nat_takes_a_fresh_random_port_for_each_destination() -> None:
    assert router(NatKind.SYMMETRIC)["source"] == ['oifname "wan" masquerade random,fully-random']


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_asked_for_is_dropped_without_a_word_and_counted(kind: NatKind) -> None:
    chains = router(kind)
    for chain in ("input", "forward"):
        assert chains[chain][0] == 'iifname "wan" ct state established,related accept'
        assert chains[chain][-1] == 'iifname "wan" counter name unsolicited drop'


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_outside_is_filtered(kind: NatKind) -> None:
    chains = router(kind)
    assert all(rule.startswith('iifname "wan"') for rule in chains["input"] + chains["forward"])


def test_kinds_differ_in_what_is_compared() -> None:
    prints = {router_rules("s", Site("home", kind, (), (), ())).fingerprint for kind in KINDS}
    assert len(prints) == len(KINDS)


def test_the_internet_counts_all_that_it_carries_and_drops_nothing() -> None:
    ruleset = internet_rules("ltk-t-internet")
    (chain,) = rules(ruleset.text).values()
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
