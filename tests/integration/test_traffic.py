"""What people do with a tunnel: bulk transfers both ways, and pings of every size."""

from __future__ import annotations

import json
import subprocess

import pytest
from harness import Lab, run_ltk, wait_for

MTU = 1380  # bytes; the tunnel's default
IP_AND_ICMP = 28  # bytes of headers in front of a ping's payload
IPERF = 5201  # its port
SMALLEST_PACKET = 20  # bytes; an IP header and nothing else


@pytest.fixture
def server(quickstart: Lab) -> Lab:
    """Quickstart with an iperf3 server on bob, ready for connections."""
    with quickstart.running("bob", "iperf3", "-s"):
        listening = quickstart.command("bob", "ss", "-ltn")
        wait_for(lambda: f":{IPERF}" in subprocess.check_output(listening, text=True), "iperf3 to listen")
        yield quickstart


@pytest.mark.parametrize("reverse", [False, True], ids=["alice-to-bob", "bob-to-alice"])
def test_tcp_runs_for_ten_seconds(server: Lab, reverse: bool) -> None:
    words = ["iperf3", "-c", "10.0.0.3", "-t", "10", "-J", *(["-R"] if reverse else [])]
    end = json.loads(run_ltk("exec", "quickstart", "alice", "--", *words).stdout)["end"]
    received = end["sum_received"]
    assert received["seconds"] > 9
    assert received["bytes"] > 10_000_000, f"{received['bits_per_second'] / 1e6:.1f} Mbit/s"
    print(f"TCP: {received['bits_per_second'] / 1e6:.0f} Mbit/s")


@pytest.mark.parametrize("reverse", [False, True], ids=["alice-to-bob", "bob-to-alice"])
def test_udp_runs_for_ten_seconds_without_loss(server: Lab, reverse: bool) -> None:
    """At a rate that a loaded machine of two cores can do: every single datagram arrives.

    What iperf3 leaves in its own socket until there is no more room has arrived: the kernel counts that.
    """
    receiver = "alice" if reverse else "bob"
    before = not_taken(server, receiver)
    words = ["iperf3", "-c", "10.0.0.3", "-u", "-b", "5M", "-l", "1200", "-t", "10", "-J"]
    words += ["-R"] if reverse else []
    end = json.loads(run_ltk("exec", "quickstart", "alice", "--", *words).stdout)["end"]
    received = end["sum"]
    assert received["seconds"] > 9
    assert received["packets"] > 4000
    assert received["lost_packets"] <= not_taken(server, receiver) - before


def not_taken(lab: Lab, node: str) -> int:
    """Datagrams for which a program in the node's namespace other than ltk has left no room in its socket."""
    counted = lab.run(node, "cat", "/proc/net/snmp").stdout
    names, values = (line.split() for line in counted.splitlines() if line.startswith("Udp:"))
    listed = lab.run(node, "cat", "/proc/net/udp", "/proc/net/udp6").stdout.splitlines()
    sockets = [line.split() for line in listed if "drops" not in line]
    of_ltk = sum(int(each[-1]) for each in sockets if not each[1].endswith(f":{IPERF:04X}"))
    return int(values[names.index("RcvbufErrors")]) - of_ltk


def test_a_thousand_pings_of_every_size_pass_whole(quickstart: Lab) -> None:
    """From the shortest ping to the largest packet that fits: 1000 sizes, none lost, none shortened.

    ping compares the whole payload that comes back and says "wrong data byte" where one differs.
    """
    largest = MTU - IP_AND_ICMP
    sizes = [round(step * largest / 999) for step in range(1000)]
    assert sizes[0] == 0
    assert sizes[-1] == largest
    # the namespaces' ping in turns: one process a size would be slow and prove no more
    script = (
        "for size in "
        + " ".join(str(size) for size in sizes)
        + "; do ping -n -q -c 1 -W 5 -M do -s $size 10.0.0.3 || exit 1; done"
    )
    done = quickstart.run("alice", "sh", "-c", script, timeout=120)
    assert done.stdout.count("1 packets transmitted, 1 received, 0% packet loss") == 1000
    assert "wrong data" not in done.stdout
    assert "truncated" not in done.stdout


def test_a_packet_that_is_only_a_header_passes(quickstart: Lab) -> None:
    """20 bytes, the least there is: sent raw in alice, seen by a capture on bob's tunnel device."""
    script = (
        "import socket\n"
        "raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)\n"  # RFC 3692: for experiments
        "for _ in range(10): raw.sendto(b'', ('10.0.0.3', 0))\n"
    )
    with quickstart.running("bob", "tcpdump", "-l", "-n", "-v", "-i", "ltk0", "proto", "253") as capture:
        assert capture.stderr
        for line in capture.stderr:
            if "listening on" in line:
                break
        quickstart.run("alice", "python3", "-c", script)
        assert capture.stdout
        seen = [capture.stdout.readline() + capture.stdout.readline() for _ in range(10)]
    assert all(f"length {SMALLEST_PACKET})" in each for each in seen), seen


def test_one_byte_more_than_the_mtu_is_refused_at_the_source(quickstart: Lab) -> None:
    done = quickstart.run(
        "alice",
        "ping",
        "-c",
        "1",
        "-W",
        "2",
        "-M",
        "do",
        "-s",
        str(MTU - IP_AND_ICMP + 1),
        "10.0.0.3",
        check=False,
    )
    assert done.returncode != 0
    assert "message too long" in (done.stdout + done.stderr).lower()
