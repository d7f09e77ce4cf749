"""Links with conditions, judged by ping, by what programs receive, by captures and by the kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Lab, is_kept, run_ltk, wait_for
from test_reconcile import names, no_newer_handshake, sessions

from ltk.kernel import paths
from ltk.node.control import ask

HUB = "203.0.113.5"
DISTANT = """
name: distant
network: {subnet: 10.62.0.0/24}
nodes:
  hub: {role: server, address: 10.62.0.1}
  alice: {role: client, address: 10.62.0.2}
  bob: {role: client, address: 10.62.0.3}
lab:
  sites:
    cloud: {hosts: {hub: {address: 203.0.113.5}}}
    home: {nat: symmetric, hosts: [alice], link: {delay: 20ms}}
    near: {nat: port-restricted, hosts: [bob]}
"""
WIRE = ("wire", "wan - home@ltk-distant-internet")
MAX_FRAME = 1514  # bytes; Ethernet's header and 1500
COUNT_DATAGRAMS = """
import socket, sys
inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
inbox.bind(("0.0.0.0", 4000))
print("ready", flush=True)
received = 0
while True:
    datagram, source = inbox.recvfrom(2048)
    if len(datagram) == 100:
        received += 1
        continue
    inbox.sendto(datagram, source)
    if datagram == b"19":
        break
print(received, flush=True)
"""
# By the hundred, and the next when those have been taken: a queue that is full would lose packets as well.
SEND_DATAGRAMS = """
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.settimeout(0.2)
for hundred in range(20):
    for _ in range(100):
        out.sendto(bytes(100), ("203.0.113.5", 4000))
    for _ in range(100):
        out.sendto(b"%d" % hundred, ("203.0.113.5", 4000))
        try:
            if out.recv(100) == b"%d" % hundred:
                break
        except TimeoutError:
            continue
    else:
        if hundred < 19:
            raise SystemExit("no answer")
"""


@pytest.fixture
def distant(lab: Callable[..., Lab]) -> Lab:
    made = lab(DISTANT)
    assert made.ping("alice", "10.62.0.3")["received"] == 3
    return made


def wire_process(lab: Lab) -> dict[str, Any]:
    """What the process of the wires says about itself."""
    return ask(paths.wires_socket(lab.name), {"do": "status"})


def with_link(link: str) -> str:
    return DISTANT.replace("link: {delay: 20ms}", f"link: {link}")


def throughput(lab: Lab, source: str, *options: str) -> float:
    """Mbit/s of TCP from `source` to hub, under the tunnel."""
    with lab.running("hub", "iperf3", "-s", "-1"):
        listening = lab.command("hub", "ss", "-ltn")
        wait_for(lambda: ":5201" in subprocess.check_output(listening, text=True), "iperf3 to listen")
        done = lab.run(source, "iperf3", "-c", HUB, "-t", "3", "-J", *options)
    bits: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits / 1e6


def longest_frame(capture: bytes) -> int:
    """The longest frame of a pcap file, as it was on the device."""
    offset, longest = 24, 0
    while offset < len(capture):
        kept, length = struct.unpack_from("=II", capture, offset + 8)
        longest = max(longest, length)
        offset += 16 + kept
    return longest


def test_twenty_milliseconds_each_way_are_forty_there_and_back(distant: Lab) -> None:
    """Of every ping, the first one included: a path resolves no addresses."""
    times = distant.ping("alice", HUB, count=20)["times"]
    print(f"round trip: {min(times):.2f} to {max(times):.2f} ms")
    assert len(times) == 20
    assert min(times) >= 40
    assert min(times) < 60, "something is delayed once more"
    assert times[0] < 80, "an address was resolved, there and back by the same link"
    through_the_tunnel = distant.ping("alice", "10.62.0.1", count=10)["times"]
    assert min(through_the_tunnel) >= 40
    assert min(distant.ping("bob", HUB, count=10)["times"]) < 20, "the other site has no delay"


def test_ten_percent_loss_are_ten_percent_of_two_thousand_packets(lab: Callable[..., Lab]) -> None:
    made = lab(with_link("{loss: 10%}"))
    with made.running("hub", "python3", "-c", COUNT_DATAGRAMS) as receiver:
        assert receiver.stdout
        assert receiver.stdout.readline() == "ready\n"
        made.run("alice", "python3", "-c", SEND_DATAGRAMS)
        received = int(receiver.stdout.readline())
    print(f"lost: {(2000 - received) / 20:.1f} %")
    assert 2000 * 0.87 <= received <= 2000 * 0.93


def test_tcp_through_a_delay_is_fast(distant: Lab) -> None:
    wire, cable = throughput(distant, "alice"), throughput(distant, "bob")
    distant.rewrite(with_link("{}"))
    distant.apply()
    empty = throughput(distant, "alice")
    print(f"TCP: wire with 20 ms {wire:.0f} Mbit/s, without {empty:.0f} Mbit/s, cable {cable:.0f} Mbit/s")
    assert wire > 100
    assert empty > 100


def test_bursts_cross_whole_and_where_packets_are_lost_each_travels_alone(distant: Lab) -> None:
    def longest() -> int:
        with distant.capture("internet", "home", "tcp", gaps=True) as stop:
            throughput(distant, "alice", "-t", "1")
            return longest_frame(stop())

    def burst() -> None:
        wait_for(lambda: longest() > 10_000, "TCP to send fast enough for a burst that crosses whole", 60)

    burst()
    distant.rewrite(with_link("{delay: 1ms, loss: 0.1%}"))
    distant.apply()
    assert longest() == MAX_FRAME
    distant.rewrite(with_link("{delay: 1ms}"))
    distant.apply()
    burst()


def test_a_second_apply_of_a_wire_writes_nothing(distant: Lab) -> None:
    outcome = distant.apply()
    assert outcome["changes"] == []
    assert outcome["writes"] == {"netlink": 0, "nft": 0, "sysctl": 0}


def test_new_conditions_touch_neither_sessions_nor_mappings(distant: Lab) -> None:
    before, endpoint = sessions(distant), distant.peer("hub", "alice")["endpoint"]
    process = wire_process(distant)["pid"]
    distant.rewrite(with_link("{delay: 50ms, jitter: 2ms}"))
    assert names(distant.plan()) == {("update", *WIRE)}
    distant.apply()
    assert distant.plan() == []
    times = distant.ping("alice", "10.62.0.1", count=10)["times"]
    assert 96 <= min(times) < 110
    no_newer_handshake(before, sessions(distant))
    assert distant.peer("hub", "alice")["endpoint"] == endpoint, "the symmetric NAT has the same mapping"
    assert wire_process(distant)["pid"] == process


def test_a_killed_wire_process_comes_back_and_carries_the_same_sessions(distant: Lab) -> None:
    before, process = sessions(distant), wire_process(distant)["pid"]
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: distant.ping("alice", "10.62.0.1", "-W", "1", count=1)["received"], "a ping's answer")
    assert wire_process(distant)["pid"] != process
    assert distant.plan() == []
    assert min(distant.ping("alice", HUB)["times"]) >= 40
    no_newer_handshake(before, sessions(distant))


def test_apply_brings_back_the_wire_process_and_all_else_after_their_supervisor_was_killed(
    distant: Lab,
) -> None:
    process = wire_process(distant)["pid"]
    supervisor = int(re.findall(r"^PPid:\t(\d+)", Path(f"/proc/{process}/status").read_text(), re.M)[0])
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: not is_kept(process), "the end of the wire process")
    planned = distant.plan()
    assert ("update", *WIRE) in names(planned)
    distant.apply()
    assert distant.plan() == []
    assert distant.ping("alice", "10.62.0.3")["received"] == 3


DRIFT = {
    "the router's device removed": ("home", "ip link del wan"),
    "the core's device removed": ("internet", "ip link del home"),
    "a device down": ("home", "ip link set wan down"),
    "an mtu changed": ("internet", "ip link set home mtu 1400"),
}


@pytest.mark.parametrize("drift", DRIFT)
def test_a_wire_that_was_changed_by_hand_is_put_right(drift: str, distant: Lab) -> None:
    place, words = DRIFT[drift]
    process = wire_process(distant)["pid"]
    distant.run(place, *words.split())
    assert distant.plan() != []
    distant.apply()
    assert distant.plan() == []
    # a router whose device is another has forgotten its mappings: the relay refuses the first from a new port
    wait_for(lambda: distant.ping("alice", "10.62.0.3", "-W", "1", count=1)["received"], "alice to reach bob")
    assert distant.ping("alice", "10.62.0.3")["received"] == 3
    assert min(distant.ping("alice", HUB)["times"]) >= 40
    assert wire_process(distant)["pid"] == process, "a device that is down or gone is no reason to end"


@pytest.mark.parametrize("place", ["home", "internet"])
def test_a_namespace_at_the_end_of_a_wire_is_built_again(place: str, distant: Lab) -> None:
    """The process still holds a device in the old namespace, which therefore lives on without a name."""
    subprocess.run(["ip", "netns", "del", distant.scope(place)], check=True)
    distant.apply()
    assert distant.plan() == []
    assert distant.ping("alice", "10.62.0.1")["received"] == 3
    assert min(distant.ping("alice", HUB)["times"]) >= 40


def test_a_cable_becomes_a_wire_and_a_cable_again(lab: Callable[..., Lab]) -> None:
    cable = DISTANT.replace(", link: {delay: 20ms}", "")
    made = lab(cable)
    made.rewrite(DISTANT)
    made.apply()
    assert made.plan() == []
    assert min(made.ping("alice", HUB)["times"]) >= 40
    process = wire_process(made)["pid"]
    made.rewrite(cable)
    made.apply()
    assert made.plan() == []
    assert min(made.ping("alice", HUB, count=10)["times"]) < 20
    assert not is_kept(process), "a process without wires"
    assert not paths.wires_config(made.name).exists()


def test_a_site_with_a_wire_is_removed_and_the_other_wire_stays(lab: Callable[..., Lab]) -> None:
    two = DISTANT.replace("hosts: [bob]}", "hosts: [bob], link: {delay: 10ms}}")
    made = lab(two)
    assert len(wire_process(made)["wires"]) == 2
    gone = re.sub(r"^ +(bob|near): .*\n", "", two, flags=re.MULTILINE)
    made.rewrite(gone)
    made.apply()
    assert made.plan() == []
    (left,) = wire_process(made)["wires"]
    assert left["b"]["device"] == "home"
    assert min(made.ping("alice", HUB)["times"]) >= 40


def test_an_idle_wire_does_not_spin(distant: Lab) -> None:
    """While a ping elsewhere takes two seconds, the process works for next to nothing of them."""
    pid = wire_process(distant)["pid"]

    def worked() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = worked()
    distant.run("bob", "ping", "-c", "21", "-i", "0.1", "127.0.0.1")
    assert worked() - before < 0.2


def test_doctor_says_that_the_wire_is_in_use() -> None:
    found = json.loads(run_ltk("doctor", "-o", "json", status=None).stdout)["findings"]
    by_name = {each["what"]: each for each in found}
    assert by_name["tap device"]["present"]
    assert "user-space wire" in by_name["link delay"]["detail"]


def test_a_rate_doubles_and_reordering_are_met_by_packets_as_the_file_says(distant: Lab) -> None:
    distant.rewrite(with_link("{rate: 20mbit, delay: 2ms}"))
    distant.apply()
    carried = throughput(distant, "alice", "-t", "3")
    print(f"TCP through a rate of 20 Mbit/s: {carried:.1f} Mbit/s")
    assert 10 < carried < 21
    distant.rewrite(with_link("{duplicate: 100%}"))
    distant.apply()
    assert distant.ping("alice", HUB, count=5)["output"].count("DUP!") >= 4, "each request comes twice"
    distant.rewrite(with_link("{delay: 50ms, reorder: 50%, seed: 4}"))
    distant.apply()
    times = distant.ping("alice", HUB, count=40)["times"]
    early = [each for each in times if each < 100]
    assert 40 > len(early) > 10, "each way by itself: a quarter of the round trips meets the whole delay"
    assert min(each for each in times if each >= 100) < 110
