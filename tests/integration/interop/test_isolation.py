"""A server that keeps its clients apart: each reaches it and the subnet behind it, and nobody else."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from captures import datagrams, packets
from flows import Flows
from harness import Lab, wait_for
from place import Pings, Place
from stock_client import stock_client

HUB, FILES = "10.62.0.1", "172.30.0.7"
CLIENTS = {"alice": "10.62.0.2", "bob": "10.62.0.3", "carol": "10.62.0.4"}
STOCK = {"phone": "10.62.0.8", "tablet": "10.62.0.9"}
EVERYBODY = CLIENTS | STOCK
PAIRS = tuple(itertools.permutations(EVERYBODY, 2))
RELAYED = 0x80  # first byte of a datagram

# Alice and carol share a LAN, so that even without a server's help they could meet.
TOPOLOGY = """
name: apart
network: {{subnet: 10.62.0.0/24}}
nodes:
  hub: {{role: server, address: 10.62.0.1, routes: 172.30.0.0/24, isolation: {isolation}}}
  alice: {{address: 10.62.0.2}}
  bob: {{address: 10.62.0.3}}
  carol: {{address: 10.62.0.4}}
  phone: {{role: wireguard, address: 10.62.0.8}}
  tablet: {{role: wireguard, address: 10.62.0.9}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: port-restricted, hosts: [alice, carol]}}
    flat: {{nat: port-restricted, hosts: [bob]}}
    mobile: {{hosts: [phone, tablet]}}
"""


@contextmanager
def files_behind(lab: Lab) -> Iterator[Place]:
    """A host in the hub's subnet, on a cable to the hub."""
    host = Place("ltki-files")
    subprocess.run(["ip", "netns", "add", host.namespace], check=True, timeout=10)
    try:
        hub = Place(lab.scope("hub"))
        hub.ip(f"link add lan type veth peer name eth0 netns {host.namespace}")
        hub.ip("address add 172.30.0.1/24 dev lan")
        hub.ip("link set lan up")
        host.ip(f"address add {FILES}/24 dev eth0")
        host.ip("link set eth0 up")
        host.ip("route add default via 172.30.0.1")
        yield host
    finally:
        subprocess.run(["ip", "netns", "delete", host.namespace], check=True, timeout=10)


def pinged(lab: Lab, pairs: tuple[tuple[str, str], ...], *, patience: int) -> dict[tuple[str, str], int]:
    """How many of five pings between the clients of each pair came back; all at once."""
    with ExitStack() as stack:
        words = ("ping", "-n", "-c", "5", "-i", "0.2", "-W", str(patience))
        under_way = {
            (one, other): stack.enter_context(Place(lab.scope(one)).running(*words, EVERYBODY[other]))
            for one, other in pairs
        }
        return {
            pair: Pings.read(process.communicate(timeout=60)[0]).received
            for pair, process in under_way.items()
        }


@contextmanager
def all_up(lab: Lab, folder: Path) -> Iterator[dict[str, str]]:
    """The stock clients too, whom the hub has to hear first; the tunnel's device by client."""
    with ExitStack() as stack:
        devices = dict.fromkeys(CLIENTS, "ltk0")
        for name in STOCK:
            stock = stack.enter_context(stock_client(lab, name, folder))
            assert stock.place.ping(HUB).received == 5
            devices[name] = stock.device
        yield devices


def test_who_were_connected_are_apart_once_the_server_isolates(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    """Everybody talks to everybody, so that there are sessions, channels and direct paths to be closed."""
    made = lab(TOPOLOGY.format(isolation="false"))
    flows = Flows(made)
    for name, source, target in (("a_b", "home", "flat"), ("b_a", "flat", "home")):
        flows.count(name, source, target, data_only=False)
    with files_behind(made) as files, all_up(made, tmp_path) as devices:
        assert pinged(made, PAIRS, patience=5) == dict.fromkeys(PAIRS, 5)
        for one, other in (("alice", "bob"), ("alice", "carol")):
            wait_for(lambda one=one, other=other: made.peer(one, other)["path"] == "direct", "a direct path")

        made.rewrite(TOPOLOGY.format(isolation="true"))
        made.apply()
        before = flows.counted()
        with ExitStack() as stack:
            delivered = {
                name: stack.enter_context(made.capture(name, device, f"dst host {EVERYBODY[name]}"))
                for name, device in devices.items()
            }
            at_hub = stack.enter_context(made.capture("hub", "eth0", "udp"))
            on_lan = stack.enter_context(made.capture("home", "carol", "udp"))
            assert pinged(made, PAIRS, patience=1) == dict.fromkeys(PAIRS, 0), "isolated clients have talked"
            received = {name: len(list(packets(tap()))) for name, tap in delivered.items()}
            passed, lan = datagrams(at_hub()), datagrams(on_lan())
        assert received == dict.fromkeys(EVERYBODY, 0), "something of another client was delivered"
        assert flows.counted() == before, "isolated clients have exchanged datagrams"
        assert passed, "the hub's clients are there"
        assert [each for each in passed if each.payload[0] == RELAYED] == [], "the hub relays, or is asked to"
        hub = flows.places.address["hub"]
        assert {each.target for each in lan if each.source.startswith("192.168.")} <= {hub}, lan

        for name, address in EVERYBODY.items():
            for target in (HUB, FILES):
                pings = Place(made.scope(name)).ping(target)
                assert pings.received == 5, f"{name} does not reach {target}:\n{pings.output}"
            pings = files.ping(address)
            assert pings.received == 5, f"what is behind the hub does not reach {name}:\n{pings.output}"
