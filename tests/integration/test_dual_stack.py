"""Sites that translate IPv4 and route IPv6, open or behind a firewall; clients meet over the latter."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

from flows import DATA
from harness import Lab, wait_for
from spending import count_data, spent

from ltk.cli.main import run as ltk
from ltk.kernel import netns

CORE4, CORE6 = "203.0.113.1", "2001:db8::1"
PORT = 4000
TOPOLOGY = """
name: both
network: {subnet: 10.72.0.0/24}
nodes:
  hub: {role: server, address: 10.72.0.1}
  alice: {address: 10.72.0.2}
  bob: {address: 10.72.0.3}
  carol: {address: 10.72.0.4}
  dave: {address: 10.72.0.5}
lab:
  internet: [203.0.113.0/24, "2001:db8::/64"]
  sites:
    cloud: {hosts: [hub]}
    open: {nat: symmetric, ipv6: open, hosts: [alice]}
    walled:
      nat: symmetric
      ipv6: firewall
      lan: 192.168.7.0/24
      hosts: {bob: {address: [192.168.7.9, "2001:db8::99"]}}
    other: {nat: {preset: symmetric, unsolicited: reject}, ipv6: firewall, hosts: [carol]}
    past: {nat: symmetric, hosts: [dave]}
"""


def addresses(lab: Lab, place: str) -> dict[str, list[str]]:
    """The global addresses of a host's cable, by family."""
    (link,) = json.loads(lab.run(place, "ip", "-j", "address", "show", "dev", "eth0").stdout)
    found: dict[str, list[str]] = {"inet": [], "inet6": []}
    for each in link["addr_info"]:
        found[each["family"]] += [each["local"]] if each["scope"] == "global" else []
    return found


def heard_from(lab: Lab, host: str, core: str) -> str:
    """The source address at which the internet's core hears a datagram of the host."""
    family = socket.AF_INET6 if ":" in core else socket.AF_INET
    with netns.inside(lab.scope("internet")):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with netns.inside(lab.scope(host)):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.settimeout(30)
        receiver.bind((core, PORT))
        sender.sendto(b"here", (core, PORT))
        return str(receiver.recvfrom(100)[1][0])


def test_ipv4_is_translated_and_ipv6_is_routed_as_the_file_says(lab: Callable[..., Lab]) -> None:
    made = lab(TOPOLOGY, apply=False)
    assert ltk(["apply", str(made.path)]) == 0  # in one process with what makes the routers, for mutants
    held = {host: addresses(made, host) for host in ("alice", "bob", "carol", "dave")}
    assert held["bob"] == {"inet": ["192.168.7.9"], "inet6": ["2001:db8::99"]}
    assert held["dave"]["inet6"] == []
    for host in ("alice", "bob", "carol"):
        assert made.ping(host, CORE4)["received"] == made.ping(host, CORE6)["received"] == 3
        assert heard_from(made, host, CORE6) == held[host]["inet6"][0], "IPv6 was translated"
        assert heard_from(made, host, CORE4) != held[host]["inet"][0], "IPv4 was not translated"

    (alices,), (bobs,), (carols,) = (held[host]["inet6"] for host in ("alice", "bob", "carol"))
    assert made.ping("internet", alices)["received"] == 3
    before = {site: made.counters(site)["unsolicited"] for site in ("walled", "other")}
    asked = (("walled", bobs), ("other", carols))
    refused = {site: made.ping("internet", address, "-W", "1") for site, address in asked}
    assert {site: result["received"] for site, result in refused.items()} == {"walled": 0, "other": 0}
    for site, count in before.items():
        assert made.counters(site)["unsolicited"] >= count + 3
    assert "prohibited" in refused["other"]["output"]
    assert "prohibited" not in refused["walled"]["output"]
    assert made.plan() == []


def test_hard_nats_are_got_around_where_there_is_ipv6_beside_them(lab: Callable[..., Lab]) -> None:
    """No pair of these NATs lets UDP pass directly over IPv4: what is direct goes over IPv6."""
    made = lab(TOPOLOGY)
    count_data(made, "internet", "walled")
    rules = f"add rule inet proof count meta nfproto ipv6 meta length > {DATA} counter name straight"
    for command in ("add counter inet proof straight", rules):
        made.run("internet", "nft", *command.split())

    def over_ipv6(source: str, number: int) -> bool:
        before = made.counters("internet", "proof")["straight"]
        crossed, _ = spent(made, source, number, "internet", "walled")
        straight = made.counters("internet", "proof")["straight"] - before
        return straight == crossed > 0

    for source, number in (("alice", 3), ("bob", 4)):
        wait_for(
            lambda source=source, number=number: over_ipv6(source, number),
            f"the data of {source} to go over IPv6 alone",
            60,
        )
    for one, other in (("alice", "bob"), ("bob", "alice"), ("bob", "carol")):
        peer = made.peer(one, other)
        assert peer["path"] == "direct", peer
        assert peer["endpoint"].startswith("[2001:db8::"), peer
