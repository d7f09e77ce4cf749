"""Files that are well formed and cannot work: one message, at the place where it would be mended.

In the texts below `§` stands directly before the character at which the problem must be shown.
"""

from __future__ import annotations

import pytest
from bad_files import KEY, OTHER_KEY, check_the_only_problem, lab, real

CASES = {
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
    "a node called as the wires' process": (
        lab(more="  §wires: {}\n", sites="    x: {hosts: [wires]}\n"),
        "nodes.wires",
        "devices, namespaces and processes",
    ),
    "a jitter without a delay": (
        lab(home="{hosts: [alice], link: {jitter: §2ms}}"),
        "lab.sites.home.link.jitter",
        "2ms is more than the delay of 0ms",
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
    "a stock peer without a key": (real(more="  §phone: {role: wireguard}\n"), "nodes.phone", "`wg pubkey`"),
    "a real host without a key": (real(more="  §carol: {}\n"), "nodes.carol", "ltk keygen --for"),
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
    "two ways to everywhere": (
        lab(hub="{role: server, routes: 0.0.0.0/0}", alice="{routes: §0.0.0.0/0}"),
        "nodes.alice.routes",
        "which is behind hub already",
    ),
    "a way to everywhere by a client that nobody reaches": (
        lab(hub="{role: server, isolation: true}", alice="{routes: §0.0.0.0/0}"),
        "nodes.alice.routes",
        "the server keeps its clients apart",
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


@pytest.mark.parametrize(("marked", "key", "fragment"), CASES.values(), ids=CASES)
def test_a_file_that_cannot_work_gets_one_message_at_the_exact_place(
    marked: str, key: str, fragment: str
) -> None:
    check_the_only_problem(marked, key, fragment)
