"""Every kind of router does what the file says, found by probing it; one that does not is found out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import Lab, run_ltk

from ltk.cli.main import run as ltk

MAPPINGS = ("endpoint-independent", "address-dependent", "address-and-port-dependent")
FILTERINGS = MAPPINGS
PORTS = ("preserve", "random", "sequential", "block-512")
EIM, ADF = "endpoint-independent", "address-dependent"


def topology(sites: str, internet: str = "203.0.112.0/22", more: str = "") -> str:
    return f"""
name: kinds
network: {{subnet: 10.73.0.0/24}}
nodes:
  hub: {{role: server}}
{more}
lab:
  internet: {internet}
  sites:
    cloud: {{hosts: [hub]}}
{sites}
"""


def probed(lab: Lab, *site: str) -> dict[str, dict[str, Any]]:
    """What `ltk nat` prints, by site."""
    done = run_ltk("nat", lab.name, *site, "-o", "json", status=None)
    found = {each["name"]: each for each in json.loads(done.stdout)["sites"]}
    assert done.returncode == (2 if differing(found) else 0)
    return found


def differing(found: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    """The sites that are not as the file says: how they were found, and how they should be."""
    return {name: (each["found"], each["declared"]) for name, each in found.items() if each["differs"]}


def test_every_class_with_every_rule_for_ports_and_hairpins_is_what_it_says(lab: Callable[..., Lab]) -> None:
    sites = {}
    for mapping, filtering, hairpin, ports in itertools.product(MAPPINGS, FILTERINGS, (True, False), PORTS):
        if ports != "preserve" or mapping == EIM:  # by destination there are several ports, and one original
            values = {"mapping": mapping, "filtering": filtering, "hairpin": hairpin, "ports": ports}
            sites[f"n{len(sites):02}"] = values | {"unsolicited": "drop", "udp": "allow"}
    assert len(sites) == 60
    made = lab(topology("".join(f"    {name}: {{nat: {json.dumps(nat)}}}\n" for name, nat in sites.items())))
    found = probed(made)
    assert {name: found[name]["found"] for name in sites} == sites
    assert differing(found) == {}
    assert made.plan() == [], "what the routers have learned is taken for drift"


PRESETS = {
    "none": None,
    "firewall": ("none", "address-and-port-dependent", None, None, "drop", "allow"),
    "full-cone": (EIM, EIM, False, "preserve", "drop", "allow"),
    "restricted-cone": (EIM, ADF, False, "preserve", "drop", "allow"),
    "port-restricted": (EIM, MAPPINGS[2], False, "preserve", "drop", "allow"),
    "symmetric": (MAPPINGS[2], MAPPINGS[2], False, "random", "drop", "allow"),
    "symmetric-sequential": (MAPPINGS[2], MAPPINGS[2], False, "sequential", "drop", "allow"),
    "home": (EIM, MAPPINGS[2], True, "preserve", "drop", "allow"),
    "corporate": (None, None, None, None, None, "dns-only"),
    "hotel": (None, None, None, None, None, "dns-only"),
    "mobile": (MAPPINGS[2], MAPPINGS[2], False, "block-512", "drop", "allow"),
    "cloud": (MAPPINGS[2], MAPPINGS[2], False, "random", "drop", "allow"),
    "cgnat": (EIM, EIM, True, "random", "drop", "allow"),
    "{unsolicited: reject}": (EIM, MAPPINGS[2], False, "preserve", "reject", "allow"),
    "{unsolicited: accept}": (EIM, MAPPINGS[2], False, "preserve", "accept", "allow"),
    "{preset: firewall, unsolicited: reject}": ("none", MAPPINGS[2], None, None, "reject", "allow"),
    "{udp: block}": (None, None, None, None, None, "block"),
    "{mapping: none, filtering: endpoint-independent, udp: block}": (None, None, None, None, None, "block"),
}


def test_presets_nested_routers_and_those_with_forwards_are_what_they_say(lab: Callable[..., Lab]) -> None:
    sites = nodes = ""
    for number, preset in enumerate(PRESETS):
        nodes += f"  h{number}: {{}}\n"
        link = ", link: {delay: 5ms, loss: 2%}" if preset == "home" else ""
        sites += f"    s{number}: {{nat: {preset}, hosts: [h{number}]{link}}}\n"
    sites += """
    inner: {nat: symmetric-sequential, behind: s12}
    innermost: {nat: {preset: restricted-cone, hairpin: true}, behind: inner}
    served: {nat: port-restricted, hosts: [a, b], forward: {udp/2000: a}, one_to_one: a}
"""
    made = lab(topology(sites, more=nodes + "  a: {}\n  b: {}\n"))
    keys = ("mapping", "filtering", "hairpin", "ports", "unsolicited", "udp")
    found = probed(made)
    shown = {
        preset: tuple(found[f"s{number}"]["found"][key] for key in keys)
        for number, preset in enumerate(PRESETS)
    }
    wanted = PRESETS | {"none": ("none", EIM, None, None, "accept", "allow")}
    assert shown == wanted
    assert differing(found) == {}
    assert found["inner"]["found"]["ports"] == "sequential"
    assert found["innermost"]["found"]["hairpin"] is True
    assert found["served"]["found"]["filtering"] == "address-and-port-dependent", "b is not served"


def test_routers_of_ipv6_are_what_they_say(lab: Callable[..., Lab]) -> None:
    sites = """
    open: {hosts: [a]}
    walled: {nat: firewall, hosts: [b], link: {delay: 2ms}}
    rude: {nat: {preset: firewall, unsolicited: reject}, hosts: [c]}
"""
    made = lab(topology(sites, "2001:db8::/64", "  a: {}\n  b: {}\n  c: {}\n"))
    found = probed(made)
    assert differing(found) == {}
    shown = {name: (found[name]["found"]["filtering"], found[name]["found"]["unsolicited"]) for name in found}
    walled = "address-and-port-dependent"
    assert shown["open"] == (EIM, "accept")
    assert shown["walled"] == (walled, "drop")
    assert shown["rude"] == (walled, "reject")


TAMPERED = {
    "hairpin": "insert rule inet ltk inwards iifname lan meta l4proto udp accept",
    "filtering": "insert rule inet ltk inwards iifname wan meta l4proto udp dnat ip to udp dport map @eim",
    "mapping": "insert rule inet ltk mapping meta l4proto udp snat ip to {wan}:10000-60000 fully-random",
    "ports": "insert rule inet ltk mapping meta l4proto udp snat ip to {wan}:10000-29999",
    "unsolicited": "insert rule inet ltk input iifname wan reject with icmpx admin-prohibited",
    "udp": "insert rule inet ltk forward iifname lan meta l4proto udp accept",
}


def _told(key: str) -> str:
    return "{preset: home, udp: dns-only}" if key == "udp" else "home"


def test_a_router_that_does_something_else_is_found_out(lab: Callable[..., Lab]) -> None:
    """Each in one thing, and `ltk nat` names that."""
    made = lab(topology("".join(f"    {key}: {{nat: {_told(key)}}}\n" for key in TAMPERED)))
    assert differing(probed(made)) == {}
    for key, rule in TAMPERED.items():
        address = made.run(key, "ip", "-o", "-4", "address", "show", "dev", "wan").stdout.split()[3]
        made.run(key, "nft", *rule.format(wan=address.partition("/")[0]).split())
    found = probed(made)
    for key in TAMPERED:
        assert key in found[key]["differs"], found[key]
    assert not found["cloud"]["differs"]


def test_a_changed_nat_is_planned_as_just_that_and_done_so(lab: Callable[..., Lab]) -> None:
    made = lab(topology("    home: {nat: home}\n    other: {nat: symmetric}\n"))
    made.rewrite(made.yaml.replace("{nat: home}", "{nat: {preset: full-cone, lifetime: 30s}}"))
    changes = made.plan()
    assert [(each["action"], each["resource"], each["scope"]) for each in changes] == [
        ("update", "ruleset", "ltk-kinds-home")
    ]
    made.apply()
    assert made.plan() == []
    found = probed(made, "home")["home"]
    assert not found["differs"], found
    assert found["found"]["filtering"] == EIM


@pytest.mark.parametrize(
    ("key", "value"),
    [("hairpin", True), ("filtering", MAPPINGS[2]), ("mapping", MAPPINGS[2])],
    ids=["hairpin", "filtering", "mapping"],
)
def test_routers_are_made_as_the_file_says(key: str, value: object, lab: Callable[..., Lab]) -> None:
    """In one process with the program that makes them, which a mutant can replace."""
    nat = "{mapping: address-and-port-dependent, filtering: address-and-port-dependent, hairpin: true}"
    made = lab(topology(f"    home: {{nat: {nat}}}\n"), apply=False)
    assert ltk(["apply", str(made.path)]) == 0
    found = probed(made, "home")["home"]["found"]
    assert found[key] == value, found


def test_who_is_let_in_beside_a_hairpin_comes_under_its_own_address(lab: Callable[..., Lab]) -> None:
    """Otherwise its flow, where it is the first, would stand in the way of the host's own."""
    made = lab(topology("    home: {nat: cgnat}\n"), apply=False)
    assert ltk(["apply", str(made.path)]) == 0
    found = probed(made, "home")["home"]["found"]
    assert (found["filtering"], found["hairpin"]) == (EIM, True), found


@pytest.mark.parametrize("word", ["nowhere", "hub"])
def test_a_site_that_is_none_is_named_with_those_that_are(word: str, lab: Callable[..., Lab]) -> None:
    made = lab(topology("    home: {nat: home}\n"), apply=False)
    done = run_ltk("nat", str(made.path), word, status=3)
    assert "there is no such site" in done.stderr
    assert "cloud, home" in done.stderr
