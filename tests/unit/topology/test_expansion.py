"""What a topology means: defaults, copies, addresses, the lab's underlay; and that `render` loses nothing."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ltk.topology.expanded import Lab, Link, Role, SecretSource, Topology
from ltk.topology.load import load_topology, parse_topology
from ltk.topology.nats import OPEN, PRESETS, NatPreset
from ltk.topology.problems import InvalidTopologyError
from ltk.topology.render import render

KEYS = ("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=")
STORIES = sorted((Path(__file__).parents[3] / "topologies").glob("*.yaml"))


def parse(text: str, folder: str = "/etc/vpn") -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path(folder))


def expand(
    nodes: dict[str, Any], sites: dict[str, Any] | None = None, *, subnet: Any = "10.0.0.0/24", **more: Any
) -> Topology:
    """A topology of `nodes`; in a lab of `sites`, or of one public site that holds them all."""
    lab = {"sites": sites or {"public": {"hosts": list(nodes)}}} | more.pop("lab", {})
    network = {"subnet": subnet} | more.pop("network", {})
    return parse(
        yaml.safe_dump({"name": "t", "network": network, "nodes": nodes, "lab": lab} | more, sort_keys=False)
    )


def lab_of(topology: Topology) -> Lab:
    assert topology.lab is not None
    return topology.lab


SERVER = {"role": "server"}


def test_the_quickstart_is_what_its_comments_say() -> None:
    topology = load_topology(str(next(path for path in STORIES if path.stem == "quickstart")))
    assert [(node.name, node.role, str(node.addresses[0])) for node in topology.nodes] == [
        ("hub", Role.SERVER, "10.0.0.1/24"),
        ("alice", Role.CLIENT, "10.0.0.2/24"),
        ("bob", Role.CLIENT, "10.0.0.3/24"),
    ]
    lab = lab_of(topology)
    assert lab.site_of("alice").nat is PRESETS[NatPreset.PORT_RESTRICTED]
    assert lab.site_of("hub").nat is OPEN
    assert lab.site_of("bob").nat is OPEN


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_every_story_is_valid_bears_its_files_name_and_survives_rendering(story: Path) -> None:
    topology = load_topology(str(story))
    assert topology.name == story.stem
    assert parse(render(topology)) == topology


def test_a_client_and_a_server_get_their_own_defaults() -> None:
    topology = expand({"hub": SERVER, "alice": {}, "phone": {"role": "wireguard"}})
    assert topology.mtu == 1380
    found = [(node.listen, node.keepalive, node.device, node.isolation, node.mtu) for node in topology.nodes]
    assert found == [
        (51820, 0, "ltk0", False, 1380),
        (0, 20, "ltk0", False, 1380),
        (0, 0, "ltk0", False, 1380),
    ]
    assert topology.server.name == "hub"


def test_defaults_stand_under_every_node_and_give_way_to_its_own_values() -> None:
    topology = expand(
        {"hub": SERVER, "alice": {}, "bob": {"keepalive": 9}},
        defaults={"node": {"keepalive": 7, "device": "wg7"}},
    )
    assert [node.keepalive for node in topology.nodes] == [7, 7, 9]
    assert {node.device for node in topology.nodes} == {"wg7"}


def test_isolation_by_default_is_the_servers_alone() -> None:
    with pytest.raises(InvalidTopologyError, match="for the server"):
        expand({"hub": SERVER, "alice": {"isolation": True}})
    assert expand({"hub": SERVER | {"isolation": True}, "alice": {}}).server.isolation


def test_stated_addresses_are_taken_before_free_ones_are_handed_out_in_order() -> None:
    topology = expand(
        {"a": {}, "hub": SERVER, "b": {"address": "10.0.0.1"}, "c": {}, "d": {"address": "10.0.0.3"}}
    )
    assert [str(node.addresses[0].ip) for node in topology.nodes] == [
        "10.0.0.2",
        "10.0.0.4",
        "10.0.0.1",
        "10.0.0.5",
        "10.0.0.3",
    ]


def test_a_node_has_an_address_in_each_subnet_in_the_subnets_order() -> None:
    topology = expand({"hub": SERVER, "a": {"address": "10.0.0.9"}}, subnet=["fd00::/64", "10.0.0.0/24"])
    assert topology.node("a").addresses == (ip_interface("fd00::2/64"), ip_interface("10.0.0.9/24"))
    assert topology.node("hub").addresses == (ip_interface("fd00::1/64"), ip_interface("10.0.0.1/24"))


def test_a_count_makes_numbered_copies_with_addresses_in_a_run() -> None:
    topology = expand({"hub": SERVER, "client": {"count": 3, "address": "10.0.0.10"}})
    assert [(node.name, str(node.addresses[0].ip)) for node in topology.nodes[1:]] == [
        ("client-01", "10.0.0.10"),
        ("client-02", "10.0.0.11"),
        ("client-03", "10.0.0.12"),
    ]


@pytest.mark.parametrize(("count", "last"), [(1, "c-01"), (99, "c-99"), (100, "c-100")])
def test_numbers_have_two_digits_or_as_many_as_the_count_needs(count: int, last: str) -> None:
    topology = expand({"hub": SERVER, "c": {"count": count}})
    assert topology.nodes[-1].name == last
    assert len({len(node.name) for node in topology.nodes[1:]}) == 1


@pytest.mark.parametrize(
    ("subnet", "nodes"), [("10.0.0.0/30", 2), ("10.0.0.0/31", 2), ("fd00::/127", 2), ("10.0.0.0/29", 6)]
)
def test_a_subnet_holds_exactly_as_many_nodes_as_it_has_addresses(subnet: str, nodes: int) -> None:
    everyone = {"hub": SERVER} | {f"n{number}": {} for number in range(nodes - 1)}
    assert len(expand(everyone, subnet=subnet).nodes) == nodes
    with pytest.raises(InvalidTopologyError, match="needed are"):
        expand(everyone | {"more": {}}, subnet=subnet)


def test_the_core_the_routers_and_the_public_hosts_get_public_addresses_in_order() -> None:
    topology = expand(
        {"hub": SERVER, "a": {}, "b": {}},
        {"x": {"hosts": ["hub"]}, "home": {"nat": "symmetric", "hosts": ["a"]}, "y": {"hosts": ["b"]}},
        lab={"internet": "203.0.113.0/28"},
    )
    lab = lab_of(topology)
    assert lab.core == (ip_address("203.0.113.1"),)
    assert [str(site.wan[0]) for site in lab.sites] == ["203.0.113.2", "203.0.113.4", "203.0.113.5"]
    hub = lab.host("hub")
    assert hub.addresses == (ip_interface("203.0.113.3/32"),)
    assert hub.gateways == lab.site_of("hub").wan
    assert lab.site_of("hub").lan == ()
    assert topology.server.endpoint == "203.0.113.3:51820"


def test_behind_a_nat_the_router_has_the_first_address_of_the_lan_and_hosts_the_next() -> None:
    lab = lab_of(
        expand(
            {"hub": SERVER, "a": {}, "b": {}},
            {"x": {"hosts": ["hub"]}, "h": {"nat": "symmetric", "hosts": ["b", "a"]}},
        )
    )
    site = lab.site_of("a")
    assert site.lan == (ip_interface("192.168.1.1/24"),)
    assert [(host.node, str(host.addresses[0]), str(host.gateways[0])) for host in site.hosts] == [
        ("b", "192.168.1.2/24", "192.168.1.1"),
        ("a", "192.168.1.3/24", "192.168.1.1"),
    ]


def test_lans_that_are_left_open_differ_from_each_other_and_from_all_that_is_stated() -> None:
    nodes = {"hub": SERVER, "a": {}, "b": {"routes": ["192.168.3.0/24"]}, "c": {}, "d": {}}
    sites = {"x": {"hosts": ["hub"]}} | {name: {"nat": "symmetric", "hosts": [name]} for name in "abc"}
    for site in "abc":
        sites["site-" + site] = sites.pop(site)
    sites["site-d"] = {"nat": "symmetric", "lan": "192.168.1.0/24", "hosts": ["d"]}
    lab = lab_of(expand(nodes, sites))
    lans = {site.name: str(site.lan[0].network) for site in lab.sites if site.lan}
    assert lans == {
        "site-a": "192.168.2.0/24",
        "site-b": "192.168.4.0/24",
        "site-c": "192.168.5.0/24",
        "site-d": "192.168.1.0/24",
    }


def test_sites_may_state_the_same_lan() -> None:
    home = {"nat": "symmetric", "lan": "192.168.1.0/24"}
    lab = lab_of(
        expand(
            {"hub": SERVER, "a": {}, "b": {}},
            {"x": {"hosts": ["hub"]}, "ha": home | {"hosts": ["a"]}, "hb": home | {"hosts": ["b"]}},
        )
    )
    assert lab.host("a").addresses == lab.host("b").addresses


def test_the_own_lan_of_a_lone_host_may_be_routed_to_it() -> None:
    site = {"nat": "symmetric", "lan": "192.168.1.0/24", "hosts": ["a"]}
    topology = expand(
        {"hub": SERVER, "a": {"routes": ["192.168.1.0/24"]}}, {"x": {"hosts": ["hub"]}, "h": site}
    )
    assert topology.node("a").routes == (ip_network("192.168.1.0/24"),)


def test_a_counted_site_takes_one_copy_of_a_counted_node_each() -> None:
    lab = lab_of(
        expand(
            {"hub": SERVER, "client": {"count": 2}},
            {
                "x": {"hosts": ["hub"]},
                "home": {"count": 2, "nat": "symmetric", "wan": "203.0.113.50", "hosts": ["client"]},
            },
        )
    )
    assert [(site.name, [host.node for host in site.hosts], str(site.wan[0])) for site in lab.sites[1:]] == [
        ("home-01", ["client-01"], "203.0.113.50"),
        ("home-02", ["client-02"], "203.0.113.51"),
    ]


def test_a_single_site_takes_all_copies_of_a_counted_node() -> None:
    sites = {"x": {"hosts": {"hub": {}, "client": {"address": "203.0.113.100"}}}}
    lab = lab_of(expand({"hub": SERVER, "client": {"count": 2}}, sites))
    assert [str(host.addresses[0].ip) for host in lab.sites[0].hosts] == [
        "203.0.113.3",
        "203.0.113.100",
        "203.0.113.101",
    ]


def test_single_copies_can_stand_in_different_sites() -> None:
    sites = {"x": {"hosts": ["hub", "c-01"]}, "y": {"nat": "symmetric", "hosts": ["c-02"]}}
    lab = lab_of(expand({"hub": SERVER, "c": {"count": 2}}, sites))
    assert (lab.site_of("c-01").name, lab.site_of("c-02").name) == ("x", "y")


def test_with_both_families_public_hosts_have_both_and_hosts_behind_a_nat_ipv4() -> None:
    topology = expand(
        {"hub": SERVER, "a": {}},
        {"x": {"hosts": ["hub"]}, "h": {"nat": "symmetric", "hosts": ["a"]}},
        lab={"internet": ["2001:db8::/64", "203.0.113.0/24"]},
    )
    lab = lab_of(topology)
    assert lab.host("hub").addresses == (ip_interface("2001:db8::3/128"), ip_interface("203.0.113.3/32"))
    assert lab.host("hub").gateways == (ip_address("2001:db8::2"), ip_address("203.0.113.2"))
    assert [own.version for own in lab.host("a").addresses] == [4]
    assert topology.server.endpoint == "203.0.113.3:51820", "IPv6 does not reach a host behind a NAT"


def test_without_a_nat_the_internets_first_family_leads_to_the_server() -> None:
    topology = expand({"hub": SERVER | {"listen": 9}}, lab={"internet": ["2001:db8::/64", "203.0.113.0/24"]})
    assert topology.server.endpoint == "[2001:db8::3]:9"


def test_in_a_lab_the_endpoint_follows_from_the_lab() -> None:
    topology = expand({"hub": SERVER | {"endpoint": "hub.example:1"}, "a": {"endpoint": "a.example:1"}})
    assert [node.endpoint for node in topology.nodes] == ["203.0.113.3:51820", None]


def test_real_hosts_keep_their_endpoint_and_get_a_device_named_after_the_topology() -> None:
    topology = parse(
        f"name: a-rather-long-name\nnetwork: {{subnet: 10.0.0.0/24, psk: {{env: PSK}}}}\nnodes:\n"
        f"  hub: {{role: server, endpoint: 'hub.example:51820', public_key: {KEYS[0]}}}\n"
        f"  alice: {{public_key: {KEYS[1]}, private_key: {{file: ../alice.key}}}}\n"
    )
    assert topology.lab is None
    assert topology.psk == SecretSource("env", "PSK")
    assert topology.server.endpoint == "hub.example:51820"
    assert {node.device for node in topology.nodes} == {"ltk-a-rather-lo"}
    assert topology.node("alice").private_key == SecretSource("file", "/etc/vpn/../alice.key")
    assert parse(render(topology), folder="/elsewhere") == topology


def test_looking_up_a_name_that_is_not_there_is_a_key_error() -> None:
    topology = expand({"hub": SERVER})
    for look in (topology.node, lab_of(topology).host, lab_of(topology).site_of):
        with pytest.raises(KeyError):
            look("nobody")


def test_a_link_has_its_conditions_in_whole_numbers_and_copies_count_the_seed_on() -> None:
    link = {"delay": "20ms", "jitter": "1.5ms", "loss": "0.5%", "seed": 2**32 - 1}
    home = {"hosts": ["a"], "count": 2, "link": link}
    topology = expand({"hub": SERVER, "a": {"count": 2}}, {"cloud": {"hosts": ["hub"]}, "home": home})
    assert [site.link for site in lab_of(topology).sites] == [
        None,
        Link(delay=20_000, jitter=1_500, loss=5_000, seed=2**32 - 1),
        Link(delay=20_000, jitter=1_500, loss=5_000, seed=0),
    ]


def test_links_without_a_seed_get_one_each_that_stays_the_same() -> None:
    file = (
        {"hub": SERVER, "a": {}},
        {"one": {"hosts": ["hub"], "link": {}}, "two": {"hosts": ["a"], "link": {}}},
    )
    one, two = (site.link for site in lab_of(expand(*file)).sites)
    assert one is not None
    assert one != two
    assert one == lab_of(expand(*file)).site_of("hub").link


# --- any topology, rendered and read again


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Topology files that use what there is; now and then they are impossible."""
    names = draw(
        st.lists(
            st.from_regex(r"[nN0-9][a-zA-Z0-9]{0,5}", fullmatch=True),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    nodes: dict[str, Any] = {}
    for index, name in enumerate(names):
        node: dict[str, Any] = {
            "role": "server" if index == 0 else draw(st.sampled_from(["client", "wireguard"]))
        }
        node |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "listen": st.integers(1, 65535),
                    "keepalive": st.integers(0, 65535),
                    "device": st.sampled_from(["wg0", "ltk0", "1e3", "on"]),
                    "private_key": st.sampled_from(
                        [{"file": "a/b"}, {"env": "K"}, {"command": "echo 'x: y' #"}]
                    ),
                },
            )
        )
        if draw(st.booleans()):
            node["address"] = f"10.0.{index}.{draw(st.integers(1, 200))}"
        if index and draw(st.booleans()):
            node["count"] = draw(st.integers(1, 4))
            node.pop("private_key", None)
        elif draw(st.booleans()):
            node["routes"] = [f"172.16.{index}.0/24"]
        nodes[name] = node
    internet = draw(st.sampled_from(["203.0.113.0/24", ["2001:db8::/64", "198.51.100.0/24"]]))
    sites: dict[str, Any] = {"site-0": {"hosts": [names[0]]}}
    for index, name in enumerate(names[1:], 1):
        site: dict[str, Any] = {
            "nat": draw(st.sampled_from(["none", "port-restricted", "symmetric"])),
            "hosts": [name],
        }
        if site["nat"] != "none" and draw(st.booleans()):
            site["lan"] = draw(st.sampled_from(["192.168.1.0/24", "192.168.64.0/29"]))
        if "count" in nodes[name] and draw(st.booleans()):
            site["count"] = nodes[name]["count"]
        if draw(st.booleans()):
            site["link"] = draw(
                st.fixed_dictionaries(
                    {"delay": st.sampled_from(["10s", "1.25ms", "999.999ms"])},
                    optional={
                        "jitter": st.sampled_from(["0s", "7us"]),
                        "loss": st.sampled_from(["0%", "0.0001%", "33.3%", "100%"]),
                        "seed": st.integers(0, 2**32 - 1),
                    },
                )
            )
        sites[f"site-{index}"] = site
    subnet = draw(
        st.sampled_from(["10.0.0.0/16", ["10.0.0.0/16", "fd00::/64"], ["fd00::/64", "10.0.0.0/16"]])
    )
    return {
        "name": draw(st.sampled_from(["t", "12", "no", "A-b-3"])),
        "network": {"subnet": subnet, "mtu": draw(st.integers(1280, 9000))},
        "nodes": nodes,
        "lab": {"internet": internet, "sites": sites},
    }


@given(topologies())
def test_rendering_and_reading_again_gives_an_equal_topology(file: dict[str, Any]) -> None:
    topology = parse(yaml.safe_dump(file, sort_keys=False))
    again = parse(render(topology), folder="/elsewhere")
    assert again == topology
    assert render(again) == render(topology)


@given(topologies())
def test_no_two_things_have_the_same_address(file: dict[str, Any]) -> None:
    topology = parse(yaml.safe_dump(file, sort_keys=False))
    lab = lab_of(topology)
    tunnel = [own.ip for node in topology.nodes for own in node.addresses]
    public = [*lab.core, *(own for site in lab.sites for own in site.wan)]
    public += [own.ip for site in lab.sites if not site.lan for host in site.hosts for own in host.addresses]
    assert len(set(tunnel)) == len(tunnel)
    assert len(set(public)) == len(public)
    for site in lab.sites:
        inside = [own.ip for host in site.hosts for own in host.addresses] + [
            router.ip for router in site.lan
        ]
        assert len(set(inside)) == len(inside)
