"""wireguard-go as a client of a network that ltk has brought up, next to a client of ltk's."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Lab, run_ltk, wait_for
from keys import make_psk, public_key_in
from place import Place
from stock import MTU, Stock, wireguard_go
from stock_client import move
from transfer import transferred
from wiretap import Kind, tapped

SUBNETS = ("10.60.0.0/24", "fd00:60::/64")
HUB = ("10.60.0.1", "fd00:60::1")
ALICE = ("10.60.0.2", "fd00:60::2")
PHONE = ("10.60.0.9", "fd00:60::9")
BULK = 8 << 20  # bytes

TOPOLOGY = """
name: ltki
network:
  subnet: [10.60.0.0/24, "fd00:60::/64"]
  {psk}
nodes:
  hub: {{role: server, address: [10.60.0.1, "fd00:60::1"]}}
  alice: {{address: [10.60.0.2, "fd00:60::2"]}}
  phone: {{role: wireguard, address: [10.60.0.9, "fd00:60::9"]}}
lab:
  internet: {internet}
  sites:
    cloud: {{hosts: [hub]}}
    office: {{hosts: [alice]}}
    mobile: {{hosts: [phone]}}
"""


@dataclass(frozen=True, slots=True)
class Network:
    """The lab, the phone's wireguard-go in it, and the hub's public key."""

    lab: Lab
    phone: Stock
    hub_key: str
    underlay: dict[str, str]  # the address of each node
    folder: Path

    def place(self, name: str) -> Place:
        """A node's namespace, a router's, or the internet's."""
        return Place(self.lab.scope(name))


@pytest.fixture(
    scope="module",
    params=[("203.0.113.0/24", True), ("203.0.113.0/24", False), ("2001:db8:60::/64", True)],
    ids=["ipv4-psk", "ipv4-no-psk", "ipv6-psk"],
)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The topology, up, and the phone configured with what its owner would be given."""
    internet, with_psk = request.param
    folder = tmp_path_factory.mktemp("lab")
    psk = make_psk(folder / "network.psk") if with_psk else None
    yaml = TOPOLOGY.format(internet=f'"{internet}"', psk="psk: {file: network.psk}" if psk else "mtu: 1380")
    lab = Lab(yaml, folder / "lab.yaml")
    told = json.loads(run_ltk("render", str(lab.path), "-o", "json").stdout)["topology"]
    try:
        lab.apply()
        kept = Path("/var/lib/ltk") / lab.name
        hub_key = public_key_in(kept / "hub.key").public
        with wireguard_go(Place(lab.scope("phone")), folder) as phone:
            phone.use_key(kept / "phone.key")
            phone.add_peer(hub_key, SUBNETS, endpoint=told["nodes"]["hub"]["endpoint"], psk_file=psk)
            phone.bring_up([f"{PHONE[0]}/24", f"{PHONE[1]}/64"])
            underlay = {
                node: host["address"][0]
                for site in told["lab"]["sites"].values()
                for node, host in site["hosts"].items()
            }
            yield Network(lab, phone, hub_key, underlay, folder)
    finally:
        print(lab.logs())  # part of the report of a test that failed
        lab.destroy()


def test_a_stock_client_reaches_the_server_and_the_ltk_clients_behind_it(network: Network) -> None:
    for address in (*HUB, *ALICE):
        pings = network.phone.place.ping(address, count=20)
        assert pings.received == 20, pings.output
    assert network.phone.has_shaken_hands
    assert network.phone.shown("preshared-keys") != ["(none)"] or "psk:" not in network.lab.yaml


def test_the_server_and_the_ltk_clients_reach_a_stock_client(network: Network) -> None:
    network.phone.place.ping(HUB[0])  # the hub has to know where the phone is
    for source in ("hub", "alice"):
        for address in PHONE:
            pings = network.place(source).ping(address, count=20)
            assert pings.received == 20, pings.output


def test_packets_of_the_full_size_pass_between_a_stock_and_an_ltk_client(network: Network) -> None:
    for header, address in zip((28, 48), ALICE, strict=True):
        pings = network.phone.place.ping(address, "-M", "do", "-s", str(MTU - header))
        assert pings.received == 5, pings.output


def test_bulk_transfers_of_a_stock_client_arrive_whole_in_both_directions(network: Network) -> None:
    phone, alice = network.phone.place, network.place("alice")
    transferred(phone, alice, ALICE[0], BULK)
    transferred(alice, phone, PHONE[1], BULK)
    received, sent = (int(each) for each in network.phone.shown("transfer"))
    assert received > BULK
    assert sent > BULK


def test_the_server_follows_a_stock_client_to_its_new_port(network: Network) -> None:
    old = int(network.phone.wg("show", "listen-port"))
    new = old - 1 if old > 50000 else old + 1
    with tapped(network.place("internet"), "mobile", network.folder / "port.pcap", "udp") as tap:
        network.phone.wg("set", "listen-port", str(new))
        assert network.phone.place.ping(HUB[0]).received == 5
        pings = network.place("alice").ping(PHONE[0], count=20)
        assert pings.received == 20, pings.output
        wait_for(lambda: len(tap()) >= 50, "the capture of both pings and their answers")
        messages = tap()
    assert {each.port for each in messages if each.source == network.underlay["phone"]} == {new}
    assert {each.kind for each in messages} == {Kind.DATA}, "the session goes on: no new handshake"


def test_the_server_follows_a_stock_client_to_its_new_address(network: Network) -> None:
    old = network.underlay["phone"]
    new = str(ipaddress.ip_address(old) + 100)
    move(network.lab, network.phone, "mobile", old, new)
    with tapped(network.place("internet"), "mobile", network.folder / "address.pcap", "udp") as tap:
        assert network.phone.place.ping(HUB[0]).received == 5
        pings = network.place("alice").ping(PHONE[0], count=20)
        assert pings.received == 20, pings.output
        wait_for(lambda: len(tap()) >= 50, "the capture of both pings and their answers")
        messages = tap()
    hub = network.underlay["hub"]
    assert {(each.source, each.target) for each in messages} == {(new, hub), (hub, new)}
    assert {each.kind for each in messages} == {Kind.DATA}, "the session goes on: no new handshake"
