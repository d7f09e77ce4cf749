"""Faults put into a lab that is up, each judged by the network, and what is left when they are cleared."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from captures import datagrams
from flows import PING, Flows, seen
from harness import Lab, is_kept, pids_in, run_ltk, wait_for

from ltk.cli.main import run as ltk
from ltk.kernel import paths

HUB, ALICE, BOB, CAROL = "10.94.0.1", "10.94.0.2", "10.94.0.3", "10.94.0.4"
CLOUD = "203.0.113.5"  # the server, under the tunnel
TORN = f"""
name: torn
network: {{subnet: 10.94.0.0/24, p2p: eager}}
nodes:
  hub: {{role: server, address: {HUB}}}
  alice: {{address: {ALICE}}}
  bob: {{address: {BOB}}}
  carol: {{address: {CAROL}}}
lab:
  sites:
    cloud: {{hosts: {{hub: {{address: {CLOUD}}}}}}}
    home: {{nat: port-restricted, hosts: [alice], link: {{}}}}
    office: {{nat: port-restricted, lan: 192.168.9.0/24, hosts: [bob, carol]}}
"""
# What `ip` says of carriers and of neighbours' addresses: the kernel tells of a carrier a moment later.
PASSING = re.compile(
    r"@if\d+|([0-9a-f]{2}:){5}[0-9a-f]{2}|,LOWER_UP|NO-CARRIER,|linkdown|\b(LOWERLAYERDOWN|DOWN|UP|UNKNOWN) "
)
OFFICE_BOB, OFFICE_CAROL = "192.168.9.2", "192.168.9.3"
# Ten messages that begin as an initiation does, the last of which ends the hearing of them.
SEND = """
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(10):
    out.sendto(bytes([1, 0, 0, 0, number, 0, 0, 0]), (sys.argv[1], 4000))
"""
RECEIVE = """
import socket
inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
inbox.bind(("0.0.0.0", 4000))
inbox.settimeout(20)
print("ready", flush=True)
numbers = []
while 9 not in numbers:
    numbers.append(inbox.recv(100)[4])
print(*numbers, flush=True)
"""


def fault(lab: Lab, *words: str) -> list[str]:
    """Run `ltk fault`; returns the words of those that are in force then."""
    printed = json.loads(run_ltk("fault", lab.name, *words, "-o", "json").stdout)
    return [str(each["fault"]) for each in printed["faults"]]


def state(lab: Lab) -> dict[str, str]:
    """Rules, devices, addresses and routes of all places; without counts, and what a NAT has learned."""
    found = {}
    for place in ("hub", "alice", "bob", "carol", "cloud", "home", "office", "internet"):
        rules = lab.run(place, "nft", "-s", "list", "ruleset").stdout
        devices = lab.run(place, "ip", "-br", "link").stdout
        addresses = lab.run(place, "ip", "-br", "-4", "address").stdout
        routes = lab.run(place, "ip", "route").stdout
        lines = [PASSING.sub("", each).split() for each in (devices + addresses + routes).splitlines()]
        shown = sorted(" ".join(words) for words in lines)
        found[place] = "\n".join([re.sub(r"elements = \{[^}]*\}", "", rules), *shown])
    return found


def answered(lab: Lab, source: str, target: str) -> bool:
    return bool(lab.ping(source, target, "-W", "1", count=1)["received"])


def icmp_heard(lab: Lab, place: str) -> int:
    """Echo requests that have arrived at a place, by its kernel's own count."""
    names, values = re.findall(r"^Icmp: (.*)$", lab.run(place, "cat", "/proc/net/snmp").stdout, re.MULTILINE)
    return int(values.split()[names.split().index("InEchos")])


def hears(lab: Lab, target: str, source: str, address: str) -> bool:
    """Whether echo requests of `source` arrive at `target`, which has this address; answers are no matter."""
    before = icmp_heard(lab, target)
    lab.ping(source, address, "-W", "1", count=2)
    return icmp_heard(lab, target) > before


def is_direct(lab: Lab, flows: Flows) -> bool:
    """Whether what alice sends to bob goes straight between the two routers, by the counters between them."""
    before = flows.counted()
    if lab.ping("alice", BOB, *PING, "-W", "1", count=4)["received"] < 4:
        return False
    after = flows.counted()
    return after["straight"] - before["straight"] >= seen(4) and after["relayed"] == before["relayed"]


def source_ports(lab: Lab, flows: Flows) -> set[int]:
    """The ports from which alice's packets arrive at the server, by a capture there."""
    home = flows.places.address["home"]
    with lab.capture("hub", "eth0", f"udp and src host {home}") as stop:
        wait_for(lambda: answered(lab, "alice", HUB), "the server's answer through the tunnel")
        return {each.port for each in datagrams(stop())}


@pytest.fixture
def torn(lab: Callable[..., Lab]) -> Lab:
    made = lab(TORN)
    for address in (HUB, BOB):
        wait_for(lambda address=address: answered(made, "alice", address), f"an answer of {address}")
    return made


def test_a_block_ends_the_direct_path_stays_through_an_apply_and_is_cleared_whole(torn: Lab) -> None:
    flows = Flows(torn)
    flows.count("straight", "home", "office")
    flows.count("relayed", "home", "hub")
    wait_for(lambda: is_direct(torn, flows), "a direct path")
    before = state(torn)
    assert fault(torn, "block", "alice", "bob") == ["block alice bob"]
    wait_for(lambda: answered(torn, "alice", BOB), "the relay to take over")
    relayed = flows.counted()["relayed"]
    wait_for(lambda: torn.ping("alice", BOB, *PING, count=4)["received"] == 4, "four answers")
    assert flows.counted()["relayed"] >= relayed + seen(4), "what is blocked goes by way of the server"
    assert torn.plan() == []
    outcome = torn.apply()
    assert outcome["changes"] == []
    assert outcome["writes"] == {"netlink": 0, "nft": 0, "sysctl": 0}
    status = torn.status()
    assert status["faults"] == [{"number": 1, "fault": "block alice bob", "stated": False}]
    assert (status["state"], status["drift"]) == ("up", [])
    assert fault(torn, "clear", "1") == []
    assert state(torn) == before
    wait_for(lambda: is_direct(torn, flows), "the direct path to be back")


def test_who_is_blocked_from_whom_is_deaf_to_them_and_to_nobody_else(torn: Lab) -> None:
    """By what arrives, in each direction by itself; on one LAN, at a router, and towards everybody.

    In one process with the program that blocks, which a mutant can replace.
    """

    def heard() -> dict[str, bool]:
        return {
            "carol by bob": hears(torn, "bob", "carol", OFFICE_BOB),
            "bob by carol": hears(torn, "carol", "bob", OFFICE_CAROL),
            "carol by hub": hears(torn, "hub", "carol", CLOUD),
            "bob by hub": hears(torn, "hub", "bob", CLOUD),
        }

    def deaf_to(*words: str) -> set[str]:
        assert ltk(["fault", torn.name, *words]) == 0
        unheard = {pair for pair, heard_there in heard().items() if not heard_there}
        assert ltk(["fault", torn.name, "clear"]) == 0
        return unheard

    assert deaf_to("block", "bob", "carol") == {"carol by bob", "bob by carol"}, "both directions are blocked"
    assert deaf_to("block", "carol", "bob", "--one-way") == {"carol by bob"}
    assert deaf_to("block", "carol") == {"carol by bob", "bob by carol", "carol by hub"}
    assert deaf_to("block", "office") == {"carol by hub", "bob by hub"}
    assert deaf_to("block", "office", "hub", "--udp") == set(), "echo requests are no UDP"
    assert all(heard().values())


def test_the_nth_message_of_a_class_is_dropped_and_no_other(torn: Lab) -> None:
    fault(torn, "drop", "alice", "hub", "--class", "initiation", "--nth", "2-3")
    with torn.running("hub", "python3", "-c", RECEIVE) as receiver:
        assert receiver.stdout
        assert receiver.stdout.readline() == "ready\n"
        torn.run("alice", "python3", "-c", SEND, CLOUD)
        assert receiver.stdout.readline().split() == ["0", "3", "4", "5", "6", "7", "8", "9"]
    fault(torn, "drop", "alice", "hub", "--class", "data")
    assert not answered(torn, "alice", HUB), "the tunnel's data"
    assert torn.ping("alice", CLOUD)["received"] == 3, "and nothing else"
    assert fault(torn, "clear") == []
    wait_for(lambda: answered(torn, "alice", HUB), "the server's answer through the tunnel")


def test_links_change_while_the_lab_is_up(torn: Lab) -> None:
    """The site's has a wire already; the host's plain cable becomes one, and a cable again."""
    before = state(torn)
    fault(torn, "link", "home", "delay=30ms")
    assert min(torn.ping("alice", CLOUD)["times"]) >= 60
    fault(torn, "link", "alice", "delay=20ms")
    assert min(torn.ping("alice", CLOUD)["times"]) >= 100
    fault(torn, "link", "home", "loss=100%")
    assert not answered(torn, "alice", CLOUD)
    assert torn.plan() == []
    assert fault(torn, "clear", "3") == ["link home delay=30ms", "link alice delay=20ms"]
    assert min(torn.ping("alice", CLOUD)["times"]) >= 100, "the delay of the same link stays"
    assert fault(torn, "clear") == []
    assert state(torn) == before
    assert torn.plan() == []
    wait_for(lambda: min(torn.ping("alice", CLOUD)["times"] or [60]) < 60, "a quick answer")


def test_addresses_and_places_change_and_the_tunnel_follows(torn: Lab) -> None:
    flows = Flows(torn)
    before = state(torn)
    fault(torn, "address", "home", "203.0.113.77")
    with torn.capture("hub", "eth0", "udp and src host 203.0.113.77") as stop:
        wait_for(lambda: answered(torn, "alice", HUB), "the server's answer from the new address")
        assert datagrams(stop()), "packets come from the new address"
    fault(torn, "move", "alice", "office")
    assert torn.plan() == []
    office = flows.places.address["office"]
    with torn.capture("hub", "eth0", f"udp and src host {office}") as stop:
        wait_for(lambda: answered(torn, "alice", HUB), "the server's answer from the new site")
        assert datagrams(stop()), "packets come from the new site"
    wait_for(lambda: answered(torn, "alice", BOB), "an answer of who is on the same LAN now")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with torn.running("alice", "ping", "-q", "-i", "0.005", "-c", "10000", HUB, **quiet):
        fault(torn, "clear")  # no flow that is going on may keep an address which its router has no more
    assert state(torn) == before
    for address in (HUB, BOB):
        wait_for(lambda address=address: answered(torn, "alice", address), f"an answer of {address} at home")


def test_a_router_forgets_its_mappings_and_gives_new_ports_where_it_is_told_to(torn: Lab) -> None:
    flows = Flows(torn)
    before, first = state(torn), source_ports(torn, flows)
    assert len(first) == 1
    assert fault(torn, "flush-nat", "home") == []
    assert source_ports(torn, flows) == first, "a NAT that preserves ports gives the same again"
    assert fault(torn, "flush-nat", "home", "--new-ports") == ["flush-nat home --new-ports"]
    second = source_ports(torn, flows)
    assert fault(torn, "flush-nat", "home", "--new-ports") == ["flush-nat home --new-ports"]
    third = source_ports(torn, flows)
    assert len(first | second | third) == 3
    fault(torn, "clear")
    assert state(torn) == before


def test_daemons_that_are_killed_or_stopped_stay_so_until_that_is_cleared(torn: Lab) -> None:
    stopped = torn.daemon_pid("carol")
    assert fault(torn, "kill", "bob") == ["kill bob"]
    assert fault(torn, "stop", "carol") == ["kill bob", "stop carol"]
    assert not answered(torn, "alice", BOB)
    assert torn.apply()["changes"] == []
    assert [pid for pid in pids_in(torn.scope("bob")) if is_kept(int(pid))] == [], "nobody starts it again"
    assert "State:\tT" in Path(f"/proc/{stopped}/status").read_text()
    refused = run_ltk("fault", torn.name, "stop", "bob", status=3)
    assert "another fault holds the daemon of bob" in refused.stderr
    assert fault(torn, "clear") == []
    assert torn.daemon_pid("carol") == stopped
    for address in (BOB, CAROL):
        wait_for(lambda address=address: answered(torn, "alice", address), f"an answer of {address}")
    index = torn.run("bob", "ip", "-o", "link", "show", "ltk0").stdout.partition(":")[0]
    assert fault(torn, "tun", "bob") == []
    wait_for(lambda: answered(torn, "alice", BOB), "an answer through the device that was made again")
    assert torn.run("bob", "ip", "-o", "link", "show", "ltk0").stdout.partition(":")[0] != index


STATED = TORN + "  faults: [block alice bob, link home delay=20ms, kill carol]\n"


def test_faults_of_the_file_are_in_force_with_it_and_go_with_their_lines(torn: Lab) -> None:
    torn.rewrite(STATED)
    torn.apply()
    assert set(fault(torn)) == {"link home delay=20ms", "block alice bob", "kill carol"}
    assert min(torn.ping("alice", CLOUD)["times"]) >= 40
    assert not answered(torn, "alice", CAROL)
    assert torn.apply()["changes"] == []
    torn.rewrite(TORN)
    torn.apply()
    assert fault(torn) == []
    assert torn.plan() == []
    wait_for(lambda: answered(torn, "alice", CAROL), "an answer of who was killed")


def test_a_fault_that_was_killed_on_its_way_is_cleared_or_goes_with_the_lab(torn: Lab) -> None:
    before = state(torn)
    words = [sys.executable, "-m", "ltk", "fault", torn.name, "move", "alice", "office"]
    with subprocess.Popen(words) as process:
        wait_for(paths.kept_faults(torn.name).exists, "the fault to have begun")
        process.send_signal(signal.SIGKILL)
    fault(torn, "clear")
    assert torn.plan() == []
    assert state(torn) == before
    for each in ("block alice", "stop bob", "kill carol", "link alice loss=5%", "flush-nat home --new-ports"):
        fault(torn, *each.split())
    torn.destroy()  # and the fixture of every test finds nothing left


def test_what_cannot_be_broken_is_refused_and_nothing_is_changed(torn: Lab) -> None:
    assert "that is up" in run_ltk("fault", "nowhere", "block", "alice", status=3).stderr
    assert "Did you mean home?" in run_ltk("fault", torn.name, "flush-nat", "hom", status=3).stderr
    assert "there is no such fault" in run_ltk("fault", torn.name, "clear", "7", status=3).stderr
    assert "is somebody's already" in run_ltk("fault", torn.name, "address", "office", CLOUD, status=3).stderr
    assert fault(torn) == []
