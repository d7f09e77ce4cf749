"""Every kind of bad file gets its message at its place, and one mistake gets one message.

In the texts below `§` stands directly before the character at which the problem must be shown.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ltk.topology.load import parse_topology
from ltk.topology.problems import InvalidTopologyError

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
OTHER_KEY = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="


def problems_of(text: str) -> InvalidTopologyError:
    with pytest.raises(InvalidTopologyError) as caught:
        parse_topology(text.encode(), file="t.yaml", folder=Path("/somewhere"))
    return caught.value


def place_of(marked: str) -> tuple[str, int, int]:
    """The text without its mark, and the mark's line and column."""
    assert marked.count("§") == 1
    before = marked.partition("§")[0]
    return marked.replace("§", ""), before.count("\n") + 1, len(before) - before.rfind("\n")


def lab(
    *,
    name: str = "name: t",
    network: str = "{subnet: 10.0.0.0/24}",
    defaults: str = "{}",
    hub: str = "{role: server}",
    alice: str = "{role: client}",
    more: str = "",
    internet: str = "203.0.113.0/24",
    cloud: str = "{hosts: [hub]}",
    home: str = "{nat: symmetric, hosts: [alice]}",
    sites: str = "",
) -> str:
    return (
        f"{name}\nnetwork: {network}\ndefaults: {defaults}\nnodes:\n  hub: {hub}\n  alice: {alice}\n{more}"
        f"lab:\n  internet: {internet}\n  sites:\n    cloud: {cloud}\n    home: {home}\n{sites}"
    )


def real(
    *,
    network: str = "{subnet: 10.0.0.0/24}",
    hub: str = "{role: server, endpoint: 'hub.example:51820', public_key: " + KEY + "}",
    alice: str = "{public_key: " + OTHER_KEY + "}",
    more: str = "",
) -> str:
    return f"name: t\nnetwork: {network}\nnodes:\n  hub: {hub}\n  alice: {alice}\n{more}"


ON_HUB = "role: server, endpoint: 'hub.example:51820', public_key: " + KEY

FORM = {
    # the file as a whole
    "empty": ("§", "", "is empty"),
    "only a comment": ("§# nothing", "", "is empty"),
    "a list": ("§- a\n- b\n", "", "should be a mapping with the keys name, network and nodes, is a list"),
    "plain text": ("§hello\n", "", "is 'hello'"),
    "not YAML": ("name: t\nnetwork: {subnet: 10.0.0.0/24\nnodes§: {}\n", "", "is not valid YAML"),
    "a tab as indent": ("name: t\nnetwork:\n§\tsubnet: 10.0.0.0/24\n", "", "indent with spaces"),
    "two documents": ("name: t\n§---\nname: u\n", "", "second document"),
    "a Python object": ("name: §!!python/object:os.system x\n" + lab()[8:], "name", "means nothing here"),
    "a wrong tag": (
        lab(network="{subnet: 10.0.0.0/24, mtu: §!!int abc}"),
        "network.mtu",
        "not what its tag says",
    ),
    # keys
    "a key twice": (lab(alice="{role: client, §role: client}"), "nodes.alice.role", "first on line 6"),
    "a node twice": (lab(more="  §hub: {}\n"), "nodes.hub", "stands twice"),
    "a misspelt key": (lab(alice="{§adress: 10.0.0.2}"), "nodes.alice.adress", "did you mean 'address'?"),
    "a misspelt dash": (
        lab(alice="{§public-key: x}"),
        "nodes.alice.public-key",
        "did you mean 'public_key'?",
    ),
    "an unknown key": (lab(name="name: t\n§zoo: 1"), "zoo", "known are name, network, defaults, nodes, lab"),
    "an unknown key of a host": (
        lab(home="{hosts: {alice: {§adres: 1.2.3.4}}}"),
        "lab.sites.home.hosts.alice.adres",
        "did you mean 'address'?",
    ),
    "a key that is a list": (lab(more="  §[a, b]: {}\n"), "nodes", "a key that is not text"),
    "a missing name": (lab(name="§"), "name", "is missing"),
    "a missing subnet": (
        lab(network="{mtu: 1400}").replace("network", "§network"),
        "network.subnet",
        "is missing",
    ),
    "an empty value": (lab(alice="{§address: }"), "nodes.alice.address", "is empty"),
    # values
    "a number for a name": (
        lab(name="name: §12"),
        "name",
        "should be text, is the number 12 (put it in quotes)",
    ),
    "a long name": (lab(name="name: §" + "n" * 25), "name", "at most 24 characters, has 25"),
    "a name with a dot": (lab(name="name: §a.b"), "name", "made of letters, digits and '-'"),
    "a word for a number": (
        lab(network="{subnet: 10.0.0.0/24, mtu: §abc}"),
        "network.mtu",
        "whole number, is 'abc'",
    ),
    "a quoted number": (lab(alice="{listen: §'80'}"), "nodes.alice.listen", "without the quotes"),
    "a fraction": (lab(alice="{listen: §1.5}"), "nodes.alice.listen", "whole number, is the number 1.5"),
    "true for a number": (lab(alice="{listen: §true}"), "nodes.alice.listen", "whole number, is true"),
    "yes for true": (
        lab(hub="{role: server, isolation: §yes}"),
        "nodes.hub.isolation",
        "true or false, is 'yes'",
    ),
    "a small MTU": (lab(network="{subnet: 10.0.0.0/24, mtu: §575}"), "network.mtu", "at least 576, is 575"),
    "a large MTU": (lab(network="{subnet: 10.0.0.0/24, mtu: §65536}"), "network.mtu", "at most 65535"),
    "a high port": (lab(alice="{listen: §65536}"), "nodes.alice.listen", "at most 65535"),
    "a negative keepalive": (lab(alice="{keepalive: §-1}"), "nodes.alice.keepalive", "at least 0"),
    "a long keepalive": (lab(alice="{keepalive: §65536}"), "nodes.alice.keepalive", "at most 65535"),
    "a long keepalive for all": (
        lab(defaults="{node: {keepalive: §65536}}"),
        "defaults.node.keepalive",
        "65535",
    ),
    "a misspelt role": (lab(alice="{role: §cleint}"), "nodes.alice.role", "did you mean 'client'?"),
    "an unknown NAT": (
        lab(home="{nat: §cone, hosts: [alice]}"),
        "lab.sites.home.nat",
        "should be none, port-restricted or symmetric, is 'cone'",
    ),
    "a list for a node": (lab(alice="§[]"), "nodes.alice", "should be a mapping, is a list"),
    "a word for the hosts": (
        lab(home="{hosts: §alice}"),
        "lab.sites.home.hosts",
        "should be a list of names",
    ),
    "a number among the hosts": (
        lab(home="{hosts: [alice, §3]}"),
        "lab.sites.home.hosts[1]",
        "should be text",
    ),
    "no subnet in the list": (lab(network="{subnet: §[]}"), "network.subnet", "should not be empty"),
    "a count of none": (lab(alice="{count: §0}"), "nodes.alice.count", "at least 1"),
    "an absurd count": (lab(alice="{count: §1001}"), "nodes.alice.count", "at most 1000"),
    "a long device name": (
        lab(alice="{device: §aaaaaaaaaaaaaaaa}"),
        "nodes.alice.device",
        "at most 15 characters",
    ),
    "a device name with a slash": (lab(alice="{device: §a/b}"), "nodes.alice.device", "made of letters"),
    "not an address": (lab(alice="{address: §10.0.0}"), "nodes.alice.address", "should be an IP address"),
    "an address with a length": (
        lab(alice="{address: §10.0.0.2/24}"),
        "nodes.alice.address",
        "write 10.0.0.2",
    ),
    "a zone": (lab(alice="{address: §'fe80::1%eth0'}"), "nodes.alice.address", "without a zone"),
    "not a subnet": (lab(network="{subnet: §10.0.0.0/33}"), "network.subnet", "should be a subnet"),
    "an address for a subnet": (lab(network="{subnet: §10.0.0.0}"), "network.subnet", "is the address"),
    "a netmask": (lab(network="{subnet: §10.0.0.0/255.255.255.0}"), "network.subnet", "write 10.0.0.0/24"),
    "host bits": (lab(network="{subnet: §10.0.0.1/24}"), "network.subnet", "write 10.0.0.0/24"),
    "multicast": (lab(network="{subnet: §239.0.0.0/24}"), "network.subnet", "multicast"),
    "loopback": (lab(alice="{routes: [172.16.0.0/24, §127.0.0.0/8]}"), "nodes.alice.routes[1]", "loopback"),
    "an endpoint without a port": (
        lab(alice="{endpoint: §example.net}"),
        "nodes.alice.endpoint",
        "HOST:PORT",
    ),
    "an endpoint with port 0": (
        lab(alice="{endpoint: §'a.b:0'}"),
        "nodes.alice.endpoint",
        "port from 1 to 65535",
    ),
    "an endpoint without brackets": (
        lab(alice="{endpoint: §'fd00::1:80'}"),
        "nodes.alice.endpoint",
        "in brackets",
    ),
    "an endpoint's bad address": (
        lab(alice="{endpoint: §'300.1.1.1:80'}"),
        "nodes.alice.endpoint",
        "IPv4 address",
    ),
    "an endpoint's bad name": (lab(alice="{endpoint: §'a b:80'}"), "nodes.alice.endpoint", "host name"),
    "a short key": (lab(alice="{public_key: §abc=}"), "nodes.alice.public_key", "is not a key"),
    "a key that is not canonical": (
        lab(alice="{public_key: §" + KEY[:-2] + "h=}"),
        "nodes.alice.public_key",
        "key",
    ),
    "a secret in clear": (lab(network="{subnet: 10.0.0.0/24, psk: §hunter2}"), "network.psk", "{file: PATH}"),
    "a private key in clear": (
        lab(alice="{private_key: §" + KEY + "}"),
        "nodes.alice.private_key",
        "{env: NAME}",
    ),
    "two sources": (
        lab(network="{subnet: 10.0.0.0/24, §psk: {env: A, file: b}}"),
        "network.psk",
        "exactly one of file, env and command, has env and file",
    ),
    "no source": (lab(network="{subnet: 10.0.0.0/24, §psk: {}}"), "network.psk", "has none"),
    "a variable's bad name": (
        lab(network="{subnet: 10.0.0.0/24, psk: {env: §1A}}"),
        "network.psk.env",
        "beginning with a letter or '_'",
    ),
}

MEANING = {
    # names
    "a long node name": (
        lab(more="  §abcdefghijklmnop: {}\n"),
        "nodes.abcdefghijklmnop",
        "16 characters long",
    ),
    "a name too long once numbered": (
        lab(more="  §abcdefghijklm: {count: 2}\n"),
        "nodes.abcdefghijklm",
        "abcdefghijklm-01 is 16 characters long (at most 15",
    ),
    "an odd node name": (lab(more="  §a_b: {}\n"), "nodes.a_b", "letters, digits and '-'"),
    "a reserved name": (lab(more="  §internet: {}\n"), "nodes.internet", "taken"),
    "a site called as a node": (
        lab(sites="    §alice: {}\n"),
        "lab.sites.alice",
        "already a node called alice",
    ),
    "a copy called as a node": (
        lab(alice="{count: 2}", more="  §alice-02: {}\n", sites="    x: {hosts: []}\n"),
        "nodes.alice-02",
        "already a node called alice-02",
    ),
    # the server
    "no server": (lab(hub="{}").replace("nodes", "§nodes"), "nodes", "there is no server"),
    "two servers": (
        lab(alice="{role: §server}", home="{hosts: [alice]}"),
        "nodes.alice.role",
        "second server",
    ),
    "a counted server": (
        lab(hub="{role: §server, count: 2}", cloud="{hosts: [hub]}"),
        "nodes.hub.role",
        "hub-02 is a second server, beside hub-01",
    ),
    "a server on any port": (lab(hub="{role: server, listen: §0}"), "nodes.hub.listen", "fixed port"),
    "a server behind a NAT": (
        lab(cloud="{nat: symmetric, hosts: [§hub]}"),
        "lab.sites.cloud.hosts[0]",
        "nobody can reach the server hub behind the symmetric NAT of cloud",
    ),
    "a server without endpoint": (
        real(hub="{role: server, public_key: " + KEY + "}").replace("hub:", "§hub:"),
        "nodes.hub",
        "nobody can reach a server that has no endpoint",
    ),
    "isolation of a client": (lab(alice="{isolation: §true}"), "nodes.alice.isolation", "for the server"),
    # keys and endpoints
    "a real host without a key": (real(more="  §phone: {role: wireguard}\n"), "nodes.phone", "`ltk keygen`"),
    "a key twice": (
        real(alice="{public_key: §" + KEY + "}"),
        "nodes.alice.public_key",
        "the same as that of hub",
    ),
    "an endpoint twice": (
        real(alice="{public_key: " + OTHER_KEY + ", endpoint: §'hub.example:51820'}"),
        "nodes.alice.endpoint",
        "the same as that of hub",
    ),
    "an endpoint in the tunnel": (
        real(hub="{role: server, public_key: " + KEY + ", endpoint: §'10.0.0.1:9'}"),
        "nodes.hub.endpoint",
        "inside the tunnel's own subnet",
    ),
    "copies with one key": (
        real(more="  c: {count: 2, public_key: §aaIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=}\n"),
        "nodes.c.public_key",
        "cannot share this",
    ),
    "a reserved device": (lab(alice="{device: §wan}"), "nodes.alice.device", "another device's name"),
    # tunnel addresses
    "two subnets of a family": (
        lab(network="{subnet: [10.0.0.0/24, §10.1.0.0/24]}"),
        "network.subnet[1]",
        "second IPv4 subnet",
    ),
    "everything as a subnet": (
        lab(network="{subnet: §0.0.0.0/0}"),
        "network.subnet",
        "every address there is",
    ),
    "an MTU too small for IPv6": (
        lab(network="{subnet: 'fd00::/64', mtu: §1279}"),
        "network.mtu",
        "at least 1280 with an IPv6 subnet",
    ),
    "an address outside": (
        lab(alice="{address: §10.1.0.1}"),
        "nodes.alice.address",
        "outside network.subnet",
    ),
    "an address of no family": (lab(alice="{address: §'fd00::1'}"), "nodes.alice.address", "no such subnet"),
    "two addresses in a subnet": (
        lab(alice="{address: [10.0.0.3, §10.0.0.4]}"),
        "nodes.alice.address[1]",
        "second address in 10.0.0.0/24",
    ),
    "the network address": (lab(alice="{address: §10.0.0.0}"), "nodes.alice.address", "network address"),
    "the broadcast address": (
        lab(alice="{address: §10.0.0.255}"),
        "nodes.alice.address",
        "broadcast address",
    ),
    "the anycast address": (
        lab(network="{subnet: 'fd00::/64'}", alice="{address: §'fd00::'}"),
        "nodes.alice.address",
        "network address",
    ),
    "an address twice": (
        lab(hub="{role: server, address: 10.0.0.1}", alice="{address: §10.0.0.1}"),
        "nodes.alice.address",
        "already that of hub",
    ),
    "a run over another's address": (
        lab(hub="{role: server, address: 10.0.0.12}", alice="{count: 3, address: §10.0.0.10}"),
        "nodes.alice.address",
        "10.0.0.12 (for alice-03) is already that of hub",
    ),
    "a run beyond the subnet": (
        lab(alice="{count: 9, address: §10.0.0.250}"),
        "nodes.alice.address",
        "9 addresses from 10.0.0.250 on do not fit into 10.0.0.0/24",
    ),
    "a subnet too small": (
        lab(network="{subnet: §10.0.0.0/30}", alice="{count: 2}"),
        "network.subnet",
        "10.0.0.0/30 has 2 addresses, needed are 3 (a /29 has room)",
    ),
    # the lab
    "an unknown host": (
        lab(home="{hosts: [alice, §alcie]}"),
        "lab.sites.home.hosts[1]",
        "did you mean 'alice'?",
    ),
    "a host in two sites": (
        lab(home="{hosts: [alice, §hub]}"),
        "lab.sites.home.hosts[1]",
        "hub stands in cloud already",
    ),
    "a host twice in a site": (
        lab(home="{hosts: [alice, §alice]}"),
        "lab.sites.home.hosts[1]",
        "stands in home",
    ),
    "a node in no site": (lab(more="  §bob: {}\n"), "nodes.bob", "stands in no site"),
    "one host for two sites": (
        lab(home="{count: 2, hosts: [§alice]}"),
        "lab.sites.home.hosts[0]",
        "alice is one node for 2 sites (with count: 2 one stands in each)",
    ),
    "three hosts for two sites": (
        lab(alice="{count: 3}", home="{count: 2, hosts: [§alice]}"),
        "lab.sites.home.hosts[0]",
        "alice is 3 copies for 2 sites",
    ),
    "the internet in the tunnel": (
        lab(internet="§10.0.0.0/16", home="{hosts: [alice]}"),
        "lab.internet",
        "overlaps the tunnel's own subnet",
    ),
    "a NAT without IPv4": (
        lab(internet="'2001:db8::/64'", home="{nat: §symmetric, hosts: [alice]}"),
        "lab.sites.home.nat",
        "needs an IPv4 internet",
    ),
    "an internet too small": (
        lab(internet="§203.0.113.0/30"),
        "lab.internet",
        "has 2 addresses, needed are 4 (a /29 has room)",
    ),
    "an address outside the internet": (
        lab(home="{nat: symmetric, wan: §198.51.100.1, hosts: [alice]}"),
        "lab.sites.home.wan",
        "outside lab.internet",
    ),
    "the core's address": (
        lab(home="{nat: symmetric, wan: §203.0.113.1, hosts: [alice]}"),
        "lab.sites.home.wan",
        "that of the internet's core",
    ),
    "a public address twice": (
        lab(home="{hosts: {alice: {address: §203.0.113.9}}}", cloud="{wan: 203.0.113.9, hosts: [hub]}"),
        "lab.sites.home.hosts.alice.address",
        "already that of cloud",
    ),
    "copies of a site beyond the internet": (
        lab(alice="{count: 3}", home="{count: 3, wan: §203.0.113.253, hosts: [alice]}"),
        "lab.sites.home.wan",
        "do not fit into 203.0.113.0/24",
    ),
    "a LAN without NAT": (
        lab(home="{lan: §192.168.9.0/24, hosts: [alice]}"),
        "lab.sites.home.lan",
        "has no LAN",
    ),
    "a LAN of IPv6": (
        lab(home="{nat: symmetric, lan: §'fd01::/64', hosts: [alice]}"),
        "lab.sites.home.lan",
        "IPv4",
    ),
    "a LAN of one": (
        lab(home="{nat: symmetric, lan: §192.168.1.1/32, hosts: [alice]}"),
        "lab.sites.home.lan",
        "room",
    ),
    "a LAN in the tunnel": (
        lab(home="{nat: symmetric, lan: §10.0.0.0/16, hosts: [alice]}"),
        "lab.sites.home.lan",
        "overlaps the tunnel's own subnet",
    ),
    "a LAN in the internet": (
        lab(home="{nat: symmetric, lan: §203.0.113.128/25, hosts: [alice]}"),
        "lab.sites.home.lan",
        "overlaps the internet",
    ),
    "a LAN too small": (
        lab(alice="{count: 2}", home="{nat: symmetric, lan: §192.168.1.0/30, hosts: [alice]}"),
        "lab.sites.home.lan",
        "has 2 addresses, needed are 3",
    ),
    "a host at the router's address": (
        lab(home="{nat: symmetric, lan: 192.168.1.0/24, hosts: {alice: {address: §192.168.1.1}}}"),
        "lab.sites.home.hosts.alice.address",
        "already that of home",
    ),
    # routes
    "a route to everywhere": (
        lab(alice="{routes: §0.0.0.0/0}"),
        "nodes.alice.routes",
        "would cut off the underlay",
    ),
    "a route in the tunnel": (
        lab(alice="{routes: §10.0.0.0/25}"),
        "nodes.alice.routes",
        "the tunnel's own subnet",
    ),
    "a route behind two": (
        lab(hub="{role: server, routes: 172.16.0.0/16}", alice="{routes: [172.17.0.0/16, §172.16.1.0/24]}"),
        "nodes.alice.routes[1]",
        "overlaps 172.16.0.0/16, which is behind hub",
    ),
    "a route over the internet": (
        lab(alice="{routes: §203.0.0.0/16}"),
        "nodes.alice.routes",
        "would cut off the underlay",
    ),
    "a route over another's LAN": (
        lab(
            hub="{role: server, routes: §192.168.0.0/16}",
            home="{nat: symmetric, lan: 192.168.7.0/24, hosts: [alice]}",
        ),
        "nodes.hub.routes",
        "overlaps 192.168.7.0/24, the LAN of alice, and would cut off the underlay",
    ),
    "a route over an endpoint": (
        real(
            hub="{role: server, public_key: " + KEY + ", endpoint: '192.0.2.9:80'}",
            alice="{public_key: " + OTHER_KEY + ", routes: §192.0.2.0/24}",
        ),
        "nodes.alice.routes",
        "covers the endpoint 192.0.2.9:80 of hub",
    ),
    "copies with one route": (
        lab(alice="{count: 2, routes: §172.16.0.0/24}"),
        "nodes.alice.routes",
        "cannot share this",
    ),
}


@pytest.mark.parametrize(("marked", "key", "fragment"), FORM.values(), ids=FORM)
def test_a_malformed_file_gets_one_message_at_the_exact_place(marked: str, key: str, fragment: str) -> None:
    check(marked, key, fragment)


@pytest.mark.parametrize(("marked", "key", "fragment"), MEANING.values(), ids=MEANING)
def test_a_file_that_cannot_work_gets_one_message_at_the_exact_place(
    marked: str, key: str, fragment: str
) -> None:
    check(marked, key, fragment)


def check(marked: str, key: str, fragment: str) -> None:
    text, line, column = place_of(marked)
    error = problems_of(text)
    shown = [(problem.line, problem.column, problem.key) for problem in error.problems]
    assert shown == [(line, column, key)], str(error)
    assert fragment in error.problems[0].message
    assert str(error).startswith(f"t.yaml:{line}:{column}: ")


def test_all_problems_of_a_file_are_reported_at_once_in_its_order() -> None:
    error = problems_of(
        lab(
            name="name: a.b",
            network="{subnet: 10.0.0.0/24, mtu: abc}",
            hub="{role: server, adress: 10.0.0.1}",
            alice="{address: 10.1.0.1}",
            home="{nat: cone, hosts: [alice, alcie]}",
        )
    )
    keys = [problem.key for problem in error.problems]
    assert keys == [
        "name",
        "network.mtu",
        "nodes.hub.adress",
        "nodes.alice.address",
        "lab.sites.home.nat",
        "lab.sites.home.hosts[1]",
    ]
    assert error.problem == "6 problems"
    assert error.exit_status == 3


@pytest.mark.parametrize(
    "text",
    [
        lab(hub="{rol: server}"),
        lab(hub="{role: serve}"),
        lab(hub="server"),
        lab(defaults="{node: {role: x}}", hub="{}"),
        lab(network="{subnet: nonsense}", alice="{address: 10.9.9.9, routes: 10.9.0.0/16}"),
        lab(internet="nonsense", home="{nat: symmetric, wan: 198.51.100.7, hosts: [alice]}"),
        lab(home="{nat: symmetric, hosts: alice}"),
        lab(home="[alice]"),
        lab(alice="{count: many}", home="{nat: symmetric, hosts: [alice-07]}"),
        lab(alice="{count: 2}", home="{count: many, hosts: [alice]}"),
        lab(network="{subnet: 10.0.0.0/24, psk: {env: 1A}}"),
        lab(network="{subnet: 10.0.0.0/24, psk: !!binary abcd}"),
        lab(home="{hosts: [alice, !odd x]}"),
        real(hub="{role: server, endpoint: nonsense, public_key: " + KEY + "}"),
        real() + "lab: {}\n",
    ],
)
def test_one_mistake_causes_no_second_message(text: str) -> None:
    error = problems_of(text)
    assert len(error.problems) == 1, str(error)


def test_the_line_and_a_caret_are_shown_below_the_message() -> None:
    error = problems_of(lab(alice="{listen: 99999}"))
    head, line, caret = str(error).splitlines()
    assert head == "t.yaml:6:19: nodes.alice.listen: should be at most 65535, is 99999"
    assert line == "      alice: {listen: 99999}"
    assert line[caret.index("^") :].startswith("99999")


def test_a_long_line_is_cut_around_the_caret() -> None:
    error = problems_of(lab(alice="{address: 10.0.0.9, routes: [" + "172.16.0.0/24, " * 40 + "nonsense]}"))
    line, caret = error.problems[-1].excerpt.splitlines()
    assert len(line) < 200
    assert line[caret.index("^") :].startswith("nonsense")


@pytest.mark.parametrize(
    "text",
    [
        lab(network="{subnet: 10.0.0.0/24, psk: hunter2, zoo: 1}"),
        lab(network="{subnet: nonsense, psk: hunter2}"),
        lab(network="\n  subnet: 10.0.0.0/24\n  psk:\n    hunter2\n"),
        lab(network="\n  subnet: 10.0.0.0/24\n  psk: |\n    hunter2\n    hunter2\n"),
        lab(network="{subnet: 10.0.0.0/24, psk: {key: hunter2}}"),
        lab(network="{subnet: 10.0.0.0/24, psk: [hunter2]}"),
        lab(alice="{private_key: 'hunter2', zoo: 1}"),
        lab(alice="{private_key: hunter2, nonsense"),
        "psk: hunter2: hunter2\n",
    ],
)
def test_a_secret_written_into_the_file_is_never_shown(text: str) -> None:
    error = problems_of(text)
    assert "hunter2" not in str(error)
    assert "hunter2" not in repr(error.problems)


@pytest.mark.parametrize(
    "place", ["nodes: {hub: {zoo: %s}}", "name: %s", "%s: 1", "- %s", "nodes: {a: {listen: %s}}"]
)
def test_what_looks_like_a_key_is_never_shown_wherever_it_stands(place: str) -> None:
    error = problems_of(place % KEY + "\n")
    assert KEY[:12] not in "".join(problem.message + problem.excerpt for problem in error.problems)


def test_aliases_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
    )
    assert "fewer aliases" in str(problems_of(text))


def test_merges_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    text = "a0: &a0 {k: x}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 20)
    )
    assert problems_of(text).problems


@pytest.mark.parametrize("text", ["a: &a\n  b: *a\n", "&a [*a]\n", "a: &a {<<: *a}\n"])
def test_an_alias_of_what_holds_it_is_refused(text: str) -> None:
    assert problems_of(text).problems


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused_without_exhausting_the_stack(text: str) -> None:
    assert "levels deep" in str(problems_of(text))


def test_bytes_that_are_not_utf_8_are_located() -> None:
    with pytest.raises(InvalidTopologyError) as caught:
        parse_topology("name: ü\nname: ".encode() + b"\xff", file="t.yaml", folder=Path("/"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 7)
    assert "0xff" in problem.message


def test_a_character_that_yaml_forbids_is_located() -> None:
    (problem,) = problems_of("name: t\nnetwork: \x07\n").problems
    assert (problem.line, problem.column) == (2, 10)
    assert "U+0007" in problem.message


def test_a_file_too_large_is_refused() -> None:
    assert "larger than 4 MiB" in str(problems_of("#" * (4 * 1024 * 1024 + 1)))


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    error = problems_of('name: "\\e[31m\\uD800"\n"\\a\\uD800": 1\n')
    assert all(character.isprintable() or character == "\n" for character in str(error))
    str(error).encode()
