"""IPv6 beside a NAT, and caps of sessions: which addresses follow, and what is refused."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from bad_files import check_the_only_problem, lab

from ltk.topology.expand import render
from ltk.topology.expanded import Site, Topology
from ltk.topology.load import parse_topology
from ltk.topology.nats import Ipv6

BOTH = '[203.0.113.0/24, "2001:db8::/64"]'
SIX_FIRST = '["2001:db8::/64", 203.0.113.0/24]'


def parsed(text: str) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/"))


def home(site: str, internet: str = BOTH) -> Site:
    topology = parsed(lab(internet=internet, home=site))
    assert parsed(render(topology)) == topology, "rendered, it is another"
    assert topology.lab
    return topology.lab.site("home")


@pytest.mark.parametrize("internet", [BOTH, SIX_FIRST])
@pytest.mark.parametrize("ipv6", [Ipv6.FIREWALL, Ipv6.OPEN])
def test_hosts_have_an_address_of_the_lan_and_one_of_the_internet(ipv6: Ipv6, internet: str) -> None:
    site = home(f"{{nat: home, ipv6: {ipv6}, hosts: [alice]}}", internet)
    (host,) = site.hosts
    outside = next(address for address in site.wan if address.version == 6)
    assert site.ipv6 is ipv6
    assert host.addresses[0] == ip_interface("192.168.1.2/24")
    assert host.addresses[1].network.prefixlen == 128
    assert host.addresses[1].ip in ip_interface("2001:db8::/64").network
    assert host.addresses[1].ip != outside
    assert host.gateways == (ip_address("192.168.1.1"), outside)


def test_stated_addresses_are_taken_in_both_families_and_the_other_one_follows() -> None:
    both = '{nat: home, ipv6: open, hosts: {alice: {address: ["2001:db8::99", 192.168.1.7]}}}'
    assert [str(each.ip) for each in home(both).hosts[0].addresses] == ["192.168.1.7", "2001:db8::99"]
    one = '{nat: home, ipv6: open, hosts: {alice: {address: "2001:db8::99"}}}'
    assert [str(each.ip) for each in home(one).hosts[0].addresses] == ["192.168.1.2", "2001:db8::99"]


def test_without_the_key_there_is_ipv4_only() -> None:
    site = home("{nat: home, hosts: [alice]}")
    assert site.ipv6 is Ipv6.NONE
    assert [each.version for each in site.hosts[0].addresses] == [4]


def test_a_cap_is_kept_and_none_is_any_number() -> None:
    assert home("{nat: {preset: home, sessions: 64}, hosts: [alice]}").nat.sessions == 64
    assert home("{nat: home, hosts: [alice]}").nat.sessions is None


CASES = {
    "IPv6 beside no NAT": (
        lab(internet=BOTH, home="{nat: firewall, ipv6: §open, hosts: [alice]}"),
        "lab.sites.home.ipv6",
        "is for a site with a NAT (without one, nat holds for both families)",
    ),
    "IPv6 of an internet without": (
        lab(home="{nat: home, ipv6: §firewall, hosts: [alice]}"),
        "lab.sites.home.ipv6",
        "the lab's internet has no IPv6 (add an IPv6 subnet to lab.internet)",
    ),
    "IPv6 behind a carrier": (
        lab(
            internet=BOTH,
            home="{nat: home, behind: carrier, ipv6: §open, hosts: [alice]}",
            sites="    carrier: {nat: cgnat}\n",
        ),
        "lab.sites.home.ipv6",
        "a site behind carrier has an address of its LAN, which is IPv4, and no other (leave ipv6 out)",
    ),
    "an IPv6 address without IPv6": (
        lab(internet=BOTH, home='{nat: home, hosts: {alice: {address: §"2001:db8::99"}}}'),
        "lab.sites.home.hosts.alice.address",
        "is an IPv6 address, and there is no such subnet",
    ),
    "no session at all": (
        lab(home="{nat: {sessions: §0}, hosts: [alice]}"),
        "lab.sites.home.nat.sessions",
        "1",
    ),
    "sessions without translation": (
        lab(home="{nat: {preset: firewall, sessions: §64}, hosts: [alice]}"),
        "lab.sites.home.nat.sessions",
        "is for a NAT",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_is_refused_at_its_place(name: str) -> None:
    text, key, words = CASES[name]
    check_the_only_problem(text, key, words)
