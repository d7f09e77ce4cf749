"""The first lesson: idling neither ends, spins nor delays the TUN's reader, and it outlives its device.

Every promise here has programs that break it, which must fail; see tests/mutants.
"""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figures import Figure, Judge
from harness import DEADLINE, REPOSITORY, Lab, machine_state, run_ltk, wait_for

QUICKSTART = REPOSITORY / "topologies" / "quickstart.yaml"
NODES = ("hub", "alice", "bob")
HUB, ALICE = "10.0.0.1", "10.0.0.2"

IDLE_TIME = 5.0  # seconds
IDLE_SHARE = 0.02  # of one core, each daemon
ADDED_ROUND_TRIP = 1.0  # milliseconds at the median
# Of all windows the best counts: others use the machine too, but a reader that is late is late in all. They
# are short, so that one fits in between the others' turns.
WINDOWS, PINGS = 60, 20
STOP_TIME = 1.0  # seconds

TICKS = os.sysconf("SC_CLK_TCK")  # in a second, of /proc/PID/stat
PCAP_HEADER = 24  # bytes; a capture without packets has no more


def test_after_idling_not_one_packet_is_lost(quickstart: Lab) -> None:
    daemons = pids(quickstart)
    stay_idle(daemons)
    assert_no_loss(quickstart, count=20)
    assert pids(quickstart) == daemons


def test_idle_daemons_cost_next_to_nothing(quickstart: Lab) -> None:
    quickstart.ping("alice", HUB)  # so that each has read, sent and received before it idles
    daemons = pids(quickstart)
    before = {node: cpu_seconds(pid) for node, pid in daemons.items()}
    stay_idle(daemons)
    shares = {node: (cpu_seconds(pid) - before[node]) / IDLE_TIME for node, pid in daemons.items()}
    assert all(share < IDLE_SHARE for share in shares.values()), f"shares of a core while idle: {shares}"


def test_the_tunnel_adds_less_than_a_millisecond_to_the_median_round_trip(quickstart: Lab) -> None:
    underlay = outer_address(quickstart, "hub")
    assert_no_loss(quickstart, count=10)
    added: list[float] = []
    while len(added) < WINDOWS and min(added, default=ADDED_ROUND_TRIP) >= ADDED_ROUND_TRIP:
        below, through = (median_round_trip(quickstart, target) for target in (underlay, HUB))
        added.append(through - below)
    assert min(added) < ADDED_ROUND_TRIP, f"milliseconds added to the median, by window: {added}"


def test_a_device_that_was_down_carries_packets_again_in_the_same_sessions(quickstart: Lab) -> None:
    connect(quickstart)
    daemons = pids(quickstart)
    with no_handshakes(quickstart):
        quickstart.run("alice", "ip", "link", "set", "ltk0", "down")
        into_nothing = quickstart.ping("hub", ALICE, "-W", "1", count=3)
        assert into_nothing["received"] == 0, into_nothing["output"]
        quickstart.run("alice", "ip", "link", "set", "ltk0", "up")
        assert_no_loss(quickstart, count=20)
    assert pids(quickstart) == daemons


def test_a_deleted_device_is_made_again_under_the_same_daemon_and_sessions(quickstart: Lab) -> None:
    connect(quickstart)
    daemons = pids(quickstart)
    with no_handshakes(quickstart), watched(daemons) as ended:
        quickstart.run("alice", "ip", "link", "delete", "ltk0")
        wait_for(
            lambda: ended(0) or quickstart.ping("alice", HUB, "-W", "1", count=1)["received"],
            "a ping through the device that was made again",
        )
        assert ended(0) == [], "a daemon ended with its device"
        assert_no_loss(quickstart, count=20)
    assert pids(quickstart) == daemons
    wait_for(
        lambda: run_ltk("plan", str(quickstart.path), status=None).returncode == 0,
        "the repair to have left nothing to do",
    )


def test_a_topology_is_destroyed_in_the_middle_of_a_repair(lab: Callable[..., Lab]) -> None:
    before = machine_state()
    quickstart = lab(QUICKSTART.read_text())
    quickstart.run("alice", "ip", "link", "delete", "ltk0")
    wait_for(lambda: "repairing" in quickstart.logs(), "the repair to begin")
    run_ltk("destroy", quickstart.name)
    assert machine_state() == before


def test_a_daemon_that_is_killed_while_its_device_is_missing_comes_back(quickstart: Lab) -> None:
    connect(quickstart)
    quickstart.run("alice", "ip", "link", "delete", "ltk0")
    os.kill(pids(quickstart)["alice"], signal.SIGKILL)
    wait_for(
        lambda: quickstart.ping("alice", HUB, "-W", "1", count=1)["received"],
        "a ping through the device and the daemon that came back",
    )
    wait_for(lambda: quickstart.plan() == [], "the repair to have left nothing to do")


def test_an_idle_daemon_ends_within_a_second_of_sigterm_and_destroy_leaves_nothing(
    lab: Callable[..., Lab], held: Judge
) -> None:
    before = machine_state()
    quickstart = lab(QUICKSTART.read_text())
    quickstart.ping("alice", HUB, "-W", "1", count=1)  # whatever comes of it: the readers have read
    daemons = pids(quickstart)
    took = []
    for node in ("hub", "alice"):
        with watched({node: daemons[node]}) as ended:
            began = time.monotonic()
            os.kill(daemons[node], signal.SIGTERM)
            assert ended(DEADLINE) == [node], f"{node} did not end within {DEADLINE:g} s of SIGTERM"
            took.append(time.monotonic() - began)
    wait_for(
        lambda: quickstart.ping("alice", HUB, "-W", "1", count=1)["received"],
        "a ping through daemons that were started again",
    )
    quickstart.destroy()
    assert machine_state() == before
    held([Figure("A1", "SIGTERM to the end of an idle daemon", STOP_TIME, tuple(took))], len(took))


def test_daemons_that_were_stopped_go_on_where_they_were(quickstart: Lab) -> None:
    connect(quickstart)
    daemons = pids(quickstart)
    stopped = [daemons["hub"], daemons["alice"]]
    count = 60
    ping = ("ping", "-n", "-c", str(count), "-i", "0.05", "-W", "5", HUB)
    with quickstart.running("bob", *ping) as process:
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            sent = carried(quickstart)
            wait_for(lambda: carried(quickstart) >= sent + 20, "20 packets to reach the stopped hub")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=30)
    assert f"{count} packets transmitted, {count} received" in output, output
    assert pids(quickstart) == daemons


def connect(lab: Lab) -> None:
    """See that both clients have their sessions with the hub."""
    for node in ("alice", "bob"):
        result = lab.ping(node, HUB)
        assert result["received"] == result["sent"], result["output"]


def assert_no_loss(lab: Lab, *, count: int) -> None:
    """Ping the hub from alice."""
    result = lab.ping("alice", HUB, count=count)
    assert result["received"] == result["sent"] == count, result["output"]


def median_round_trip(lab: Lab, target: str) -> float:
    """The median of a window's pings from alice, in milliseconds; no two of them wait for one another."""
    result = lab.ping("alice", target, "-i", "0.01", count=PINGS)
    assert result["received"] == PINGS, result["output"]
    return statistics.median(result["times"])


def outer_address(lab: Lab, node: str) -> str:
    """The node's IPv4 address on the network under the tunnel."""
    links = json.loads(lab.run(node, "ip", "-j", "-4", "address").stdout)
    (address,) = (
        address["local"]
        for link in links
        if link["ifname"] not in ("lo", "ltk0")
        for address in link["addr_info"]
    )
    return str(address)


def carried(lab: Lab) -> int:
    """The UDP packets that the internet has carried."""
    return lab.counters("internet")["carried_udp"]


@contextmanager
def no_handshakes(lab: Lab) -> Iterator[None]:
    """Fail if a handshake's first message crosses the internet meanwhile: the sessions are kept."""
    with lab.capture("internet", "any", "udp[8] = 1") as stop:
        yield
        assert len(stop()) == PCAP_HEADER, "a new handshake was begun"


def pids(lab: Lab) -> dict[str, int]:
    """The daemons' processes by node."""
    return {node: lab.daemon_pid(node) for node in NODES}


def cpu_seconds(pid: int) -> float:
    """What the process has used so far, in user and in kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def stay_idle(daemons: dict[str, int]) -> None:
    """Let the daemons be for IDLE_TIME; fails as soon as one ends."""
    with watched(daemons) as ended:
        assert ended(IDLE_TIME) == [], "a daemon ended while idle"


@contextmanager
def watched(processes: dict[str, int]) -> Iterator[Callable[[float], list[str]]]:
    """`ended(seconds)` waits until one of the processes ends, at most that long, and names who has."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        names = {}
        for name, pid in processes.items():
            descriptor = os.pidfd_open(pid)
            stack.callback(os.close, descriptor)
            epoll.register(descriptor, select.EPOLLIN)
            names[descriptor] = name
        yield lambda seconds: [names[descriptor] for descriptor, _ in epoll.poll(seconds)]
