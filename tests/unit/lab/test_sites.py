"""In every lab everybody has a way to whom they should reach, hop by hop, and to nobody else."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from wires import LostError, Wires

from ltk.lab import sites
from ltk.reconcile.resources import (
    Address,
    Bridge,
    Namespace,
    Resource,
    Ruleset,
    Setting,
    Veth,
    scope_of,
    state_of,
)
from ltk.topology.expanded import Host, Lab, Site, Topology
from ltk.topology.load import parse_topology

TOPOLOGIES = Path(__file__).parents[3] / "topologies"
DUAL_STACK = """
name: dual
network: {subnet: 10.0.0.0/24}
nodes:
  hub: {role: server}
  a: {count: 3}
  b: {}
  c: {}
lab:
  internet: [198.51.100.0/24, "2001:db8::/64"]
  sites:
    cloud: {hosts: [hub, b]}
    home: {count: 3, nat: port-restricted, hosts: [a], lan: 192.168.7.0/24}
    office: {nat: symmetric, hosts: [c]}
"""
IPV6_ALONE = """
name: six
network: {subnet: "fd00::/64"}
nodes: {hub: {role: server}, a: {}}
lab: {internet: "2001:db8::/64", sites: {cloud: {hosts: [hub]}, other: {hosts: [a]}}}
"""
TEXTS = {path.stem: path.read_text() for path in sorted(TOPOLOGIES.glob("*.yaml"))}
TEXTS |= {"dual-stack": DUAL_STACK, "ipv6-alone": IPV6_ALONE}


@pytest.fixture(params=sorted(TEXTS))
def topology(request: pytest.FixtureRequest) -> Topology:
    return parse_topology(TEXTS[request.param].encode(), file="t.yaml", folder=Path("/"))


@pytest.fixture
def lab(topology: Topology) -> Lab:
    assert topology.lab is not None
    return topology.lab


@pytest.fixture
def resources(topology: Topology, lab: Lab) -> list[Resource]:
    return sites.resources(topology.name, lab)


@pytest.fixture
def wires(resources: list[Resource]) -> Wires:
    return Wires.of(resources)


def hosts(lab: Lab, *, public: bool) -> list[tuple[Site, Host]]:
    return [(site, host) for site in lab.sites if site.nat.is_open is public for host in site.hosts]


def test_public_hosts_reach_each_other_through_the_routed_core(
    topology: Topology, lab: Lab, wires: Wires
) -> None:
    for (site, host), (other_site, other) in permutations(hosts(lab, public=True), 2):
        for address in other.addresses:
            path = wires.walk(scope_of(topology.name, host.node), address.ip)
            between = [site.name] if site is other_site else [site.name, "internet", other_site.name]
            names = [host.node, *between, other.node]
            assert path == [scope_of(topology.name, name) for name in names]


def test_everybody_reaches_every_routers_public_address(topology: Topology, lab: Lab, wires: Wires) -> None:
    everybody = hosts(lab, public=True) + hosts(lab, public=False)
    for _, host in everybody:
        versions = {address.version for address in host.addresses}
        for site in lab.sites:
            for wan in (each for each in site.wan if each.version in versions):
                path = wires.walk(scope_of(topology.name, host.node), wan)
                assert path[-1] == scope_of(topology.name, site.name)


def test_hosts_behind_a_nat_reach_out_and_the_answer_finds_their_router(
    topology: Topology, lab: Lab, wires: Wires
) -> None:
    for site, host in hosts(lab, public=False):
        for _, other in hosts(lab, public=True):
            for address in (each for each in other.addresses if each.version == 4):
                path = wires.walk(scope_of(topology.name, host.node), address.ip)
                assert path[1:3] == [scope_of(topology.name, place) for place in (site.name, "internet")]
                wan = next(each for each in site.wan if each.version == 4)
                back = wires.walk(path[-1], wan)
                assert back == list(reversed(path[1:]))


def test_the_inside_of_a_nat_cannot_be_reached_from_outside(
    topology: Topology, lab: Lab, wires: Wires
) -> None:
    for site, host in hosts(lab, public=False):
        for other_site, other in hosts(lab, public=True) + hosts(lab, public=False):
            if other_site is not site and not (other_site.lan and other_site.lan == site.lan):
                with pytest.raises(LostError, match="no route"):
                    wires.walk(scope_of(topology.name, other.node), host.addresses[0].ip)


def test_neighbours_on_a_lan_need_no_router(topology: Topology) -> None:
    text = DUAL_STACK.replace("count: 3, nat", "nat")  # the three stand in one site
    topology = parse_topology(text.encode(), file="t.yaml", folder=Path("/"))
    assert topology.lab
    wires = Wires.of(sites.resources("dual", topology.lab))
    target = topology.lab.host("a-02").addresses[0].ip
    assert wires.walk("ltk-dual-a-01", target) == ["ltk-dual-a-01", "ltk-dual-a-02"]


def test_everything_stands_in_a_namespace_of_the_lab_and_is_described_once(
    topology: Topology, resources: list[Resource]
) -> None:
    state_of(resources)  # refuses two of one key
    namespaces = {each.scope for each in resources if isinstance(each, Namespace)}
    assert all(set(each.scopes) <= namespaces for each in resources)
    assert {each.topology for each in resources if isinstance(each, Namespace)} == {topology.name}


def test_no_two_devices_of_a_namespace_have_one_name(resources: list[Resource]) -> None:
    devices = [(each.scope, each.device) for each in resources if isinstance(each, Bridge)]
    for each in resources:
        if isinstance(each, Veth):
            devices += [(end.scope, end.device) for end in (each.a, each.b)]
    assert len(set(devices)) == len(devices)
    assert all(len(name) <= 15 for _, name in devices), "IFNAMSIZ - 1"


def test_every_address_is_on_a_device_that_exists(resources: list[Resource]) -> None:
    devices = {(each.scope, each.device) for each in resources if isinstance(each, Bridge)}
    devices |= {
        (end.scope, end.device) for each in resources if isinstance(each, Veth) for end in (each.a, each.b)
    }
    on = {(each.scope, each.device) for each in resources if isinstance(each, Address)}
    assert {device for device in on if device[1] != "lo"} <= devices


def test_routers_and_the_internet_forward_and_hosts_do_not(
    topology: Topology, lab: Lab, resources: list[Resource]
) -> None:
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        forwarding = {
            each.scope for each in resources if isinstance(each, Setting) and each.setting == setting
        }
        routers = [site.name for site in lab.sites]
        assert forwarding == {scope_of(topology.name, name) for name in [*routers, "internet"]}


def test_sites_without_nat_filter_nothing(topology: Topology, lab: Lab, resources: list[Resource]) -> None:
    ruled = {each.scope for each in resources if isinstance(each, Ruleset)}
    with_nat = [site.name for site in lab.sites if not site.nat.is_open]
    assert ruled == {scope_of(topology.name, name) for name in [*with_nat, "internet"]}
