"""What `ltk capture` shows is what has passed, and `ltk graph` draws the paths that the network has."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from harness import REPOSITORY, Lab, run_ltk, wait_for
from scapy.utils import RawPcapNgReader

FLOOD = """
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(40_000):
    out.sendto(bytes(1000), ("203.0.113.1", 9))
"""
UDP, ICMP = 17, 1


class Packet(NamedTuple):
    """A packet of a capture file: where it was, in nanoseconds when, and the bare IP packet."""

    place: str
    time: int
    outgoing: bool
    data: bytes


@contextmanager
def capturing(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`ltk capture` at work for as long as the body takes."""
    words = [sys.executable, "-m", "ltk", "capture", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stderr
            first = process.stderr.readline()
            assert first.startswith("capturing at "), first + process.stderr.read()
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """End it as Ctrl-C does; the lines that it printed, and what it said."""
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return printed.splitlines(), said


def packets_of(file: Path) -> list[Packet]:
    """What another's reader finds in a capture file; of Ethernet only IPv4."""
    found = []
    for data, told in RawPcapNgReader(str(file)):
        time = told.tshigh << 32 | told.tslow
        if told.linktype == 101 or data[12:14] == b"\x08\x00":
            bare = data if told.linktype == 101 else data[14:]
            found.append(Packet(told.ifname.decode(), time, told.direction == 2, bare))
    return found


def echoes(packets: list[Packet], place: str, kind: int, *, outgoing: bool) -> dict[int, int]:
    """The times of the echo messages of one kind at a place, by their sequence numbers."""
    return {
        int.from_bytes(each.data[26:28], "big"): each.time
        for each in packets
        if (each.place, each.outgoing) == (place, outgoing) and (each.data[9], each.data[20]) == (ICMP, kind)
    }


def passed(lab: Lab, place: str, device: str) -> int:
    """The packets that a device has sent and received, by the kernel's count."""
    (link,) = json.loads(lab.run(place, "ip", "-s", "-j", "link", "show", device).stdout)
    return int(link["stats64"]["rx"]["packets"] + link["stats64"]["tx"]["packets"])


def test_a_ping_is_seen_at_both_ends_and_between_by_one_clock(quickstart: Lab, tmp_path: Path) -> None:
    file = tmp_path / "ping.pcapng"
    outer = quickstart.counters("internet")["carried_udp"]
    places = ("alice", "bob:ltk0", "internet")
    with capturing("quickstart", *places, "-w", str(file), "--live") as process:
        inner = quickstart.counters("internet")["carried_udp"]
        assert quickstart.ping("alice", "10.0.0.3", count=20)["received"] == 20
        inner = quickstart.counters("internet")["carried_udp"] - inner
        lines, said = ended(process)
    outer = quickstart.counters("internet")["carried_udp"] - outer
    packets = packets_of(file)
    for kind, first, last in ((8, "alice:ltk0", "bob:ltk0"), (0, "bob:ltk0", "alice:ltk0")):
        left = echoes(packets, first, kind, outgoing=True)
        come = echoes(packets, last, kind, outgoing=False)
        assert left.keys() == come.keys() == set(range(1, 21))
        assert all(left[number] < come[number] for number in left), "seen to arrive before it had left"
    times = [each.time for each in packets]
    assert times == sorted(times)
    through = [each for each in packets if each.place.startswith("internet:") and each.data[9] == UDP]
    came_in = sum(not each.outgoing for each in through)
    forwarded = len(through) - came_in
    assert inner >= 40, "each ping and each answer crosses the internet"
    assert inner <= forwarded <= outer, "what the internet counts and what the capture has differ"
    assert came_in >= forwarded, "something has left the internet that never came"
    assert f"captured {len(lines)} packets: " in said
    assert "missed" not in said
    wanted = r"[\d:.]+ alice:ltk0 +out 10\.0\.0\.2 > 10\.0\.0\.3  icmp echo request, id \d+, seq 1"
    assert any(re.fullmatch(wanted, each) for each in lines), "\n".join(lines)
    assert any("wireguard data, " in each for each in lines)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_packet_of_a_flood_is_captured_or_counted_as_missed(quickstart: Lab, tmp_path: Path) -> None:
    file = tmp_path / "flood.pcapng"
    outer = passed(quickstart, "alice", "eth0")
    with capturing("quickstart", "alice:eth0", "-w", str(file)) as process:
        inner = passed(quickstart, "alice", "eth0")
        process.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{process.pid}/stat")
        wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "the capture to be stopped")
        quickstart.run("alice", sys.executable, "-c", FLOOD)
        inner = passed(quickstart, "alice", "eth0") - inner
        process.send_signal(signal.SIGCONT)
        _, said = ended(process)
    outer = passed(quickstart, "alice", "eth0") - outer
    assert inner >= 40_000
    captured, missed = (
        int(found[1]) if (found := re.search(rf"{word} (\d+) ", said)) else 0
        for word in ("captured", "missed")
    )
    assert missed > 0, f"it had room for all of them, which proves nothing: {said}"
    assert inner <= captured + missed <= outer, said
    assert sum(1 for _ in RawPcapNgReader(str(file))) == captured


def test_a_capture_ends_when_it_has_enough_and_when_the_lab_is_gone(quickstart: Lab) -> None:
    with quickstart.running("alice", "ping", "-q", "-i", "0.05", "-c", "600", "10.0.0.3"):
        narrow = ("--filter", "icmp and host 10.0.0.3 and not in")
        done = run_ltk("capture", "quickstart", "alice:ltk0", "bob:ltk0", *narrow, "--count", "6")
    assert len(done.stdout.splitlines()) == 6
    assert all(" out " in line and "icmp echo" in line for line in done.stdout.splitlines())
    done = run_ltk("capture", "quickstart", "home", "--seconds", "0.1")
    assert "capturing at home:lan, home:wan" in done.stderr
    assert "There are: lo, eth0" in run_ltk("capture", "quickstart", "alice:eth7", status=3).stderr
    assert "There are: hub, alice" in run_ltk("capture", "quickstart", "zed", status=3).stderr
    with capturing("quickstart", "alice", "internet") as process:
        quickstart.destroy()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "the lab was taken down" in said


def test_a_graph_has_the_paths_that_there_are(quickstart: Lab) -> None:
    planned = run_ltk("graph", str(REPOSITORY / "topologies" / "two-homes.yaml")).stdout
    assert "host0 -.- host1" in planned
    assert quickstart.ping("alice", "10.0.0.3", count=5)["received"] == 5
    shows_it = re.compile(r'host1 <==>\|"direct, [\d.]+ ms"\| host2')
    wait_for(lambda: shows_it.search(run_ltk("graph", "quickstart").stdout), "a direct path in the picture")
    root = ElementTree.fromstring(run_ltk("graph", "quickstart", "-f", "svg").stdout)
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("direct") == 3, "two tunnels to the server, and the legend"
    assert any(re.fullmatch(r"direct, [\d.]+ ms", text) for text in texts)
