"""`ltk watch`: drift is told as it happens, and with --fix undone within a second (R13)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from drifts import CLIENTS, FOUR, IN_PLACE, NAMESPACES, ROUTERS
from figures import Figure, Judge
from harness import Lab, run_ltk, wait_for
from neighbourhood import beside, put_beside
from test_destroy import is_supervisor
from test_reconcile import THREE
from watching import watching

from ltk.kernel.events import Events

BAR = 1.0  # seconds, as promised
IDLE = 3.0  # seconds
FIGHT = 8.0  # seconds


def test_drift_of_every_kind_is_undone_and_what_is_not_ltks_is_untouched(
    lab: Callable[..., Lab], held: Judge
) -> None:
    made = lab(FOUR)
    for place in (*CLIENTS, *ROUTERS):
        put_beside(made, place)
    before = beside(made, (*CLIENTS, *ROUTERS))
    figures = []
    with watching(made.name, "--fix") as watcher:
        for drift in IN_PLACE:
            figures.append(Figure("R13", drift.name, BAR, drift.undone_after(made)))
        after = beside(made, (*CLIENTS, *ROUTERS))
        figures.append(Figure("R13", NAMESPACES.name, BAR, NAMESPACES.undone_after(made)))
        wait_for(lambda: made.plan() == [], "nothing to be left to do")
        assert watcher.of("failed") == []
    assert after == before
    for source, target in (("alice", "10.68.0.3"), ("bob", "10.68.0.4"), ("carol", "10.68.0.1")):
        wait_for(lambda s=source, t=target: made.ping(s, t, "-W", "1", count=1)["received"], "them to talk")
    held(figures, len(CLIENTS))


def test_a_killed_supervisor_is_started_again_with_all_that_it_kept(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    entries = [each for each in Path("/proc").iterdir() if each.name.isdigit()]
    supervisor = min(int(each.name) for each in entries if is_supervisor(each, made.name))  # forks the others
    daemons = {node: made.daemon_pid(node) for node in ("hub", "alice", "bob")}
    with watching(made.name, "--fix") as watcher:
        os.kill(supervisor, signal.SIGKILL)
        watcher.wait_for("fixed")
        wait_for(lambda: made.plan() == [], "nothing to be left to do")
        assert all(made.daemon_pid(node) != process for node, process in daemons.items())
        wait_for(lambda: made.ping("alice", "10.61.0.3", "-W", "1", count=1)["received"], "them to talk")


def test_a_supervisor_whose_socket_is_deleted_listens_anew(lab: Callable[..., Lab]) -> None:
    """It cannot be watched from outside: nobody could ask it for anything."""
    made = lab(THREE)
    daemons = {node: made.daemon_pid(node) for node in ("hub", "alice", "bob")}
    path = Path("/run/ltk", made.name, "supervisor.sock")
    path.unlink()
    wait_for(path.exists, "a new socket")
    assert path.stat().st_mode & 0o777 == 0o600
    run_ltk("fault", made.name, "kill", "alice")
    run_ltk("fault", made.name, "clear")
    wait_for(lambda: made.plan() == [], "alice's daemon to be back")
    assert {node: made.daemon_pid(node) for node in ("hub", "bob")} == {
        node: process for node, process in daemons.items() if node != "alice"
    }


@pytest.fixture
def three(lab: Callable[..., Lab]) -> Lab:
    return lab(THREE)


def test_without_fix_drift_is_told_and_left_and_so_is_its_end(three: Lab) -> None:
    with watching(three.name) as watcher:
        three.run("alice", "ip", "route", "del", "192.168.77.0/24")
        drift = watcher.wait_for("drift")
        told = {key: drift[key] for key in ("action", "resource", "scope", "name", "reason")}
        assert told == {
            "action": "create",
            "resource": "route",
            "scope": three.scope("alice"),
            "name": "192.168.77.0/24",
            "reason": "wanted and missing",
        }
        assert three.run("alice", "ip", "route", "show", "192.168.77.0/24").stdout == ""
        three.apply()
        watcher.wait_for("right-again", name="192.168.77.0/24")
        assert [each["event"] for each in watcher.events] == ["drift", "right-again"]


def test_whoever_changes_it_back_each_time_is_left_to_it_with_growing_gaps(three: Lab) -> None:
    """The opponent hears of each route that is added, and deletes ours at once."""
    words = "ip monitor route | while read line; do ip route del 192.168.77.0/24 2>&1; done"
    with (
        three.running("alice", "stdbuf", "-oL", "ip", "monitor", "route") as monitor,
        watching(three.name, "--fix") as watcher,
    ):
        assert monitor.stdout
        added = Lines(monitor.stdout, lambda line: line.startswith("192.168.77.0/24"))
        with three.running("alice", "sh", "-c", words, process_group=0) as opponent:
            three.run("alice", "ip", "route", "del", "192.168.77.0/24")
            begin = time.monotonic()
            watcher.wait_for("contested", name="192.168.77.0/24")
            wait_for(lambda: time.monotonic() > begin + FIGHT, f"{FIGHT:g} s of fighting", FIGHT + 5)
            seen = len(added.lines)
            used = watcher.cpu()
            os.killpg(opponent.pid, signal.SIGTERM)
        assert 3 <= seen <= 12, f"times that the route was put back in {FIGHT:g} s"
        print(f"{seen} repairs and {used:.2f} s of processor time in {FIGHT:g} s of fighting")
        wait_for(
            lambda: three.run("alice", "ip", "route", "show", "192.168.77.0/24").stdout,
            "the route to be there again when nobody fights any more",
        )
        wait_for(lambda: three.plan() == [], "nothing to be left to do")


class Lines:
    """The lines of a stream that are wanted, as they come."""

    def __init__(self, stream: IO[str], wanted: Callable[[str], bool]) -> None:
        self.lines: list[str] = []
        self._stream, self._wanted = stream, wanted
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        self.lines += (line for line in self._stream if self._wanted(line))


def test_what_stands_in_our_place_is_told_and_left_and_the_rest_is_repaired(three: Lab) -> None:
    with watching(three.name, "--fix") as watcher:
        three.run("alice", "sh", "-c", "ip route replace 192.168.77.0/24 dev eth0 proto static")
        told = watcher.wait_for("in-the-way")
        assert f"192.168.77.0/24 dev eth0 in {three.scope('alice')}" in told["problem"]
        three.run("bob", "ip", "route", "del", "default")
        wait_for(lambda: three.run("bob", "ip", "route", "show", "default").stdout, "bob's route")
        kept = three.run("alice", "ip", "route", "show", "192.168.77.0/24").stdout
        assert "dev eth0 proto static" in kept
        three.run("alice", "sh", "-c", "ip route del 192.168.77.0/24 dev eth0")
        ours = ("sh", "-c", "ip route show 192.168.77.0/24 dev ltk0")
        wait_for(lambda: three.run("alice", *ours).stdout, "ours to be there again")


def test_another_ltk_at_work_is_waited_for_and_followed(three: Lab) -> None:
    """What it applies is what is wanted from then on."""
    with watching(three.name, "--fix") as watcher:
        three.rewrite(THREE.replace("192.168.77.0/24", "192.168.78.0/24"))
        three.apply()
        three.run("alice", "ip", "route", "del", "192.168.78.0/24")
        watcher.wait_for("fixed")
        assert three.plan() == []
        repaired = [[each["name"] for each in event["changes"]] for event in watcher.of("fixed")]
        assert repaired == [["192.168.78.0/24"]], "nothing of what the other did was undone"


def test_a_signal_ends_it_at_once_and_the_end_of_the_topology_too(three: Lab) -> None:
    """Until then it costs next to nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with watching(three.name, "--fix") as watcher:
            begin = time.monotonic()
            assert watcher.end(number) == 0
            print(f"{number.name}: ended after {(time.monotonic() - begin) * 1000:.0f} ms")
    assert three.plan() == []
    with watching(three.name, "--fix") as watcher:
        before, begin = watcher.cpu(), time.monotonic()
        wait_for(lambda: time.monotonic() > begin + IDLE, "some idling", IDLE + 5)
        share = (watcher.cpu() - before) / (time.monotonic() - begin)
        print(f"idle: {share:.1%} of a core")
        assert share < 0.1, "of a core while idle"
        three.destroy()
        assert watcher.join() == 0
        assert f"{three.name} is gone" in watcher.said
        assert watcher.events == []


def test_what_is_not_up_is_not_watched(lab: Callable[..., Lab]) -> None:
    made = lab(THREE, apply=False)
    done = run_ltk("watch", str(made.path), status=3)
    assert "not up" in done.stderr
    assert "ltk apply" in done.stderr


def test_what_was_dropped_for_want_of_room_is_told() -> None:
    """The kernel drops events of a socket that is full, and says so: then anything may have changed."""
    scope = "ltk-events-test"
    subprocess.run(["ip", "netns", "add", scope], check=True)
    events = Events(queue=4096)
    try:
        events.follow([scope])
        flip = "link set lo up\nlink set lo down\n" * 50
        subprocess.run(["ip", "-n", scope, "-batch", "-"], input=flip, text=True, check=True)
        heard = events.read()
        assert heard.missed, "the queue was too small, and that was not told"
        subprocess.run(["ip", "-n", scope, "link", "set", "lo", "up"], check=True)
        assert events.read().scopes == {scope}, "and it hears on"
    finally:
        events.close()
        subprocess.run(["ip", "netns", "del", scope], check=True)
