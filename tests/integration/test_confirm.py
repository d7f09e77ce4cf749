"""A change that nobody confirms is undone, whatever becomes of those who made it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import twenty
from cut_short import cut_short, die, status_of_a_child
from harness import REPOSITORY, Lab, run_ltk, wait_for
from test_reconcile import THREE, WITH_CAROL

from ltk.cli.main import run
from ltk.kernel import netns, paths
from ltk.reconcile.unconfirmed import is_guarded, seconds_left, waiting

MOVED = THREE.replace("10.61.0.2", "10.61.0.22")
AGENT = """
import socket, subprocess
server = socket.create_server(("10.61.0.2", 7000))
print("listening", flush=True)
session, _ = server.accept()
subprocess.Popen(["sh"], stdin=session, stdout=session, stderr=session, start_new_session=True).wait()
"""


def has_moved(lab: Lab) -> bool:
    """Whether alice has the address of MOVED, as the kernel says."""
    return "10.61.0.22/24" in lab.run("alice", "ip", "-o", "address").stdout


def has_come_back(lab: Lab) -> bool:
    """Whether she has the one of THREE again, alone, and the guard has gone."""
    addresses = lab.run("alice", "ip", "-o", "address").stdout
    return "10.61.0.2/24" in addresses and not has_moved(lab) and waiting(lab.name) is None


def guards(lab: Lab) -> list[int]:
    """The processes that guard a change of the lab."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"ltk.confirm" in words and lab.name.encode() in words:
                found.append(int(entry.name))
    return found


@pytest.fixture
def three(lab: Callable[..., Lab]) -> Iterator[Lab]:
    """Three nodes, up, and the file says that alice has another address; in the end no guard is left."""
    made = lab(THREE)
    made.rewrite(MOVED)
    yield made
    made.destroy()
    wait_for(lambda: not guards(made), "the guards to go with the lab")


@contextmanager
def shell_of_alice(lab: Lab) -> Iterator[socket.socket]:
    """A shell on alice's machine that hangs on a TCP connection through the tunnel, from the hub's."""
    inside = ["nsenter", f"--net=/run/netns/{lab.scope('alice')}", sys.executable, "-c", AGENT]
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as agent:
        try:
            assert agent.stdout
            assert agent.stdout.readline() == "listening\n"
            with netns.inside(lab.scope("hub")):
                session = socket.create_connection(("10.61.0.2", 7000), timeout=30)
            with session:
                yield session
        finally:
            agent.kill()


def test_an_apply_that_cuts_its_own_control_session_comes_back_by_itself(three: Lab) -> None:
    """The very connection over which it was asked for goes on, once nobody could confirm it."""
    with shell_of_alice(three) as session:
        words = f"{sys.executable} -m ltk apply {three.path} --confirm 6s"
        session.sendall(f"{words} >/dev/null 2>&1; echo it ended with $?\n".encode())
        left = wait_for(lambda: waiting(three.name), "the change to await its confirmation")
        assert has_moved(three)
        session.settimeout(0.5)
        with pytest.raises(TimeoutError):  # nobody hears that it has ended, nor could say that it may stay
            session.recv(4096)
        wait_for(lambda: has_come_back(three), "the change to be undone")
        assert seconds_left(left) == 0, "it was undone too early"
        session.settimeout(60)
        assert session.recv(4096) == b"it ended with 0\n"
        session.sendall(b"echo still here\n")
        assert session.recv(4096) == b"still here\n"
    three.rewrite(THREE)
    assert three.plan() == []


def test_the_guard_outlives_the_terminal_and_the_shell_of_the_apply(three: Lab) -> None:
    shell, terminal = pty.fork()
    if shell == 0:  # as a shell would: runs the command, and waits for the next
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it: nohup(1)
        run(["apply", str(three.path), "--confirm", "3s"])
        signal.pause()
        os._exit(1)
    wait_for(lambda: waiting(three.name), "the change to await its confirmation")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]) == -signal.SIGHUP
    end = time.monotonic() + 30
    while not has_come_back(three):
        assert time.monotonic() < end, "the change stays, though nobody has confirmed it"
        time.sleep(0.05)  # between two looks
    three.rewrite(THREE)
    assert three.plan() == []


def test_a_first_apply_that_nobody_confirms_leaves_nothing(lab: Callable[..., Lab]) -> None:
    made = lab(THREE, apply=False)
    told = run_ltk("apply", str(made.path), "--confirm", "1s").stderr
    assert f"ltk confirm {made.name}" in told
    wait_for(lambda: not guards(made), "the guard to undo it, and to go")
    assert twenty.everything(made) == {}


def test_a_confirmed_change_stays_and_others_wait_for_that(three: Lab) -> None:
    assert three.apply("--confirm", "60s")["confirm_within_s"] == 60
    (guard,) = guards(three)
    told = three.status()["unconfirmed"]
    assert 0 < told["seconds_left"] <= 60
    assert told["guarded"]
    assert "undone in" in run_ltk("status", three.name).stdout
    busy = run_ltk("apply", str(three.path), status=7)
    assert f"ltk confirm {three.name}" in busy.stderr
    run_ltk("apply", three.name, "--only", "alice")  # a repair of what there is goes on
    longer = json.loads(run_ltk("confirm", three.name, "--extend", "5m", "-o", "json").stdout)
    assert longer["seconds_left"] == 300
    assert three.status()["unconfirmed"]["seconds_left"] > 200
    assert guards(three) == [guard]
    run_ltk("confirm", three.name)
    wait_for(lambda: not guards(three), "the guard to go")
    assert three.status()["unconfirmed"] is None
    assert has_moved(three)
    assert "nothing of it awaits" in run_ltk("confirm", three.name, status=3).stderr
    assert three.apply("--confirm", "60s")["changes"] == []
    assert guards(three) == [], "there is nothing to guard"


def test_checks_decide_whether_a_change_stays(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    before = twenty.everything(made)
    checks = 'checks:\n  - {run: "%s", on: alice, within: 5s}\n'
    made.rewrite(WITH_CAROL + checks % "false")
    failed = run_ltk("apply", str(made.path), "--confirm", "auto", status=5)
    assert "checks failed" in failed.stderr
    assert twenty.differences(before, twenty.everything(made)) == []
    made.rewrite(WITH_CAROL + checks % "ping -c 1 -w 5 10.61.0.4")
    run_ltk("apply", str(made.path), "--confirm", "auto")
    assert made.plan() == []
    assert made.status()["unconfirmed"] is None
    made.rewrite(THREE)
    assert "it has no checks" in run_ltk("apply", str(made.path), "--confirm", "auto", status=3).stderr


def test_a_run_that_is_killed_in_the_middle_is_undone_by_its_guard(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    before = twenty.everything(made)
    made.rewrite(WITH_CAROL)

    def apply() -> None:
        with cut_short(20, die):
            run(["apply", str(made.path), "--confirm", "60s"])

    assert status_of_a_child(apply) == -signal.SIGKILL
    wait_for(lambda: not guards(made), "the guard to have done its work")
    assert twenty.differences(before, twenty.everything(made)) == []


def apply_without_a_guard(lab: Lab) -> None:
    """Make a change that awaits its confirmation; kill its guard, and let the time pass."""
    lab.apply("--confirm", "60s")
    (guard,) = guards(lab)
    os.kill(guard, signal.SIGKILL)
    wait_for(lambda: not is_guarded(lab.name), "the guard's end")
    assert not lab.status()["unconfirmed"]["guarded"]
    run_ltk("confirm", lab.name, "--extend", "1s")
    left = waiting(lab.name)
    assert left is not None
    wait_for(lambda: seconds_left(left) == 0, "the time to be over")


def test_what_a_killed_guard_would_have_undone_the_next_run_undoes(three: Lab) -> None:
    apply_without_a_guard(three)
    assert has_moved(three), "nobody was there to undo it"
    assert "since its guard was killed" in run_ltk("status", three.name).stdout
    late = run_ltk("confirm", three.name, status=5)
    assert "not confirmed in time, and was undone" in late.stderr
    assert has_come_back(three)

    apply_without_a_guard(three)
    three.rewrite(WITH_CAROL)
    told = run_ltk("apply", str(three.path)).stderr
    assert "not confirmed in time, and was undone" in told
    assert three.plan() == []


def test_destroying_a_topology_ends_the_waiting_for_its_change(three: Lab) -> None:
    three.apply("--confirm", "10m")
    assert len(guards(three)) == 1
    three.destroy()
    wait_for(lambda: not guards(three), "the guard to go")
    assert not paths.run_folder(three.name).exists()
