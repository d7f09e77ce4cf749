"""What went wrong later in the program that the lessons are from: each thing must not be possible here.

One pair of the lab is direct, one is relayed by what its NATs are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from crowd import Crowd, Pair, up
from harness import wait_for

from ltk.supervise import client

DIRECT, RELAYED = ("alice", "bob"), ("carol", "dave")
PAIRS = (DIRECT, RELAYED)
CLIENTS = (*DIRECT, *RELAYED, "erin")  # erin comes and goes
NATS = {"carol": "symmetric", "dave": "symmetric"}
ERIN = "  erin: {address: 10.72.0.6}\n"
ERINS_HOME = "    at-erin: {nat: port-restricted, hosts: [erin]}\n"

SMALLEST, MTU = 20, 1380  # bytes of a packet: an IPv4 header alone, and the tunnel's default
EXPERIMENT = 253  # IP protocol (RFC 3692)

# Raw packets, so that there is one of each size from a header alone on: each is sent back as it came.
ECHO = f"""
import socket, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, {EXPERIMENT})
print("ready", flush=True)
while True:
    packet, (source, _) = raw.recvfrom(65536)
    raw.sendto(packet[20:], (source, 0))
"""
SEND = f"""
import os, socket, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, {EXPERIMENT})
raw.settimeout(10)
for size in range({SMALLEST}, {MTU} + 1):
    payload = os.urandom(size - 20)
    raw.sendto(payload, (sys.argv[1], 0))
    answer = raw.recv(65536)[20:]
    assert answer == payload, f"a packet of {{size}} bytes came back with {{len(answer) + 20}}"
print("whole")
"""

# Whatever looks like a packet and has no key: in clear, in a message of data, relayed, behind STUN's cookie.
FORGE = """
import os, socket, struct, sys
target, inner = sys.argv[1], sys.argv[2:4]
source, destination = map(socket.inet_aton, inner)
echo = struct.pack(">BBHHH", 8, 0, 0, 7, 7) + b"forged" * 10
ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(echo), 1, 0, 64, 1, 0, source, destination) + echo
sealed = struct.pack("<IIQ", 4, 1, 0) + ip + bytes(16)
shapes = [ip, sealed, b"\\0" * 16 + ip, struct.pack("<II", 0x80, 1) + sealed,
          struct.pack("<II", 0x80, 1) + ip, struct.pack(">HHI12s", 1, 0, 0x2112A442, bytes(12)) + ip]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(100):
    for shape in shapes:
        udp.sendto(shape, (target, int(sys.argv[4])))
    for kind in range(1, 5):
        udp.sendto(struct.pack("<I", kind) + os.urandom(4) + ip, (target, int(sys.argv[4])))
"""
FORGED = 100 * 10


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with up("tunnel", CLIENTS, PAIRS, nats=NATS) as made:
        for name, source in (("alice_sent", "alice"), ("carol_sent", "carol")):
            target = "bob" if source == "alice" else "hub"
            made.flows.count(name, source, target, data_only=False)
        made.wait_until_direct(DIRECT)
        made.wait_until_relayed(RELAYED)
        yield made


@pytest.mark.parametrize(("pair", "counter"), [(DIRECT, "alice_sent"), (RELAYED, "carol_sent")])
def test_packets_of_every_size_pass_directly_and_by_the_relay(crowd: Crowd, pair: Pair, counter: str) -> None:
    one, other = pair
    before = crowd.flows.counted()
    with crowd.lab.running(other, "python3", "-c", ECHO) as echo:
        assert echo.stdout
        assert echo.stdout.readline() == "ready\n"
        done = crowd.lab.run(one, "python3", "-c", SEND, crowd.address(other), check=False, timeout=60)
    assert done.stdout == "whole\n", done.stderr
    after = crowd.flows.counted()
    assert after[counter] - before[counter] >= MTU - SMALLEST + 1, f"not by the way meant: {after}"


def test_a_server_that_is_down_costs_a_direct_pair_nothing(crowd: Crowd) -> None:
    client.stop_node(crowd.lab.name, "hub")
    down = crowd.lab.ping(RELAYED[0], crowd.address(RELAYED[1]), "-W", "1", count=1)
    assert down["received"] == 0, "the server is up"
    used = crowd.use([DIRECT], count=100)[DIRECT]
    crowd.lab.apply()
    assert used.took_the_direct_way, used
    crowd.wait_until_relayed(RELAYED)


def test_the_endpoint_is_that_of_the_tunnels_own_socket(crowd: Crowd) -> None:
    """One socket says everything, what asks for its address included, and the others are told of that one."""
    flows, lab = crowd.flows, crowd.lab
    alice = flows.places.address["alice"]
    client.stop_node(lab.name, "alice")  # of its old socket there is traffic until now
    with (
        crowd.noting("alice", "eth0", "udp") as inside,
        crowd.noting("internet", "at-alice", "udp") as outside,
    ):
        lab.apply()
        crowd.wait_until_direct(DIRECT)
        own, shown = inside(), outside()
    listen = int(crowd.told("alice")["listen"])
    assert ports_of(own, r"192\.168\.\d+\.\d+") == {listen}, "more than one socket speaks"
    (port,) = ports_of(shown, re.escape(alice))
    assert crowd.told("alice")["endpoint_observed"] == f"{alice}:{port}"
    assert lab.peer("bob", "alice")["endpoint"] == f"{alice}:{port}"
    asked = [line for line in own if f"{flows.places.address['hub']}." in line]
    targets = {line.split(" > ")[1].split(":")[0] for line in asked if f".{listen} > " in line}
    assert len(targets) == 2, f"the server's second port was not asked from the same socket: {targets}"


def test_peers_that_come_and_go_remove_no_local_route(crowd: Crowd) -> None:
    lab = crowd.lab
    lab.run("alice", "ip", "route", "add", "198.51.100.0/24", "via", "10.72.0.3", "dev", "ltk0")
    before = {node: routes(crowd, node) for node in ("alice", "bob", "hub")}
    whole = lab.yaml
    for yaml in (whole.replace(ERIN, "").replace(ERINS_HOME, ""), whole):
        lab.rewrite(yaml)
        lab.apply()
        assert {node: routes(crowd, node) for node in before} == before
    crowd.kill("bob")
    crowd.wait_until_direct(DIRECT)
    assert {node: routes(crowd, node) for node in before} == before


def test_no_packet_without_a_key_is_ever_delivered(crowd: Crowd) -> None:
    hub = crowd.flows.places.address["hub"]
    port = str(crowd.told("hub")["listen"])
    before = sum(crowd.told("hub")["drops"].values())
    with crowd.noting("hub", "ltk0") as hubs, crowd.noting("dave", "ltk0") as daves:
        for victim in ("10.72.0.1", crowd.address("dave")):
            words = ["python3", "-c", FORGE, hub, crowd.address("alice"), victim, port]
            crowd.lab.run("erin", *words)
        wait_for(
            lambda: sum(crowd.told("hub")["drops"].values()) >= before + 2 * FORGED * 9 // 10,
            "the server to have refused what was sent",
        )
        assert crowd.use([RELAYED], count=3)[RELAYED].is_relayed  # the captures see what is delivered
        wait_for(lambda: "ICMP" in "".join(daves()), "the captures to see an honest ping")
        delivered = [line for line in (*hubs(), *daves()) if crowd.address("alice") in line]
    assert delivered == [], f"{len(delivered)} forged packets were delivered"


def routes(crowd: Crowd, node: str) -> list[str]:
    """All routes of a node, but for the hub's to a client's home, which go with the home."""
    printed = crowd.lab.run(node, "ip", "-j", "route", "show", "table", "all").stdout
    return sorted(json.dumps(route, sort_keys=True) for route in json.loads(printed))


def ports_of(lines: list[str], address: str) -> set[int]:
    """The UDP ports from which an address has sent, as tcpdump tells of them."""
    return {int(found[1]) for line in lines if (found := re.search(rf"IP {address}\.(\d+) > ", line))}
