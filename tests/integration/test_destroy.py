"""Nothing is left: after destroy, after gc, and after everything was killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import Lab, machine_state, pids_in, run_ltk, supervisors, wait_for
from test_reconcile import THREE


def everything_of(lab: Lab) -> list[str]:
    """Namespaces, processes and files of the lab, wherever they may be."""
    namespaces = subprocess.check_output(["ip", "netns", "list"], text=True).split("\n")
    found = [line for line in namespaces if line.startswith(f"ltk-{lab.name}-")]
    found += [str(path) for path in Path("/run/netns").glob(f"ltk-{lab.name}-*")]
    found += [
        str(folder / lab.name)
        for folder in (Path("/run/ltk"), Path("/var/lib/ltk"))
        if (folder / lab.name).exists()
    ]
    return found + [line for line in supervisors().split("\n") if lab.name in line]


def test_destroy_leaves_nothing_of_a_busy_topology(lab: Callable[..., Lab]) -> None:
    before = machine_state()
    made = lab(THREE)
    assert everything_of(made)
    processes = [int(pid) for place in ("hub", "alice", "bob") for pid in pids_in(made.scope(place))]
    # somebody is at work inside, and ignores the polite signal
    stubborn = made.command("alice", "sh", "-c", "trap '' TERM; while :; do read line; done")
    with subprocess.Popen(stubborn, stdin=subprocess.PIPE) as visitor:
        wait_for(lambda: len(pids_in(made.scope("alice"))) == 2, "the visitor to be inside")
        run_ltk("destroy", made.name)
        assert visitor.wait(10) == -signal.SIGKILL
    assert everything_of(made) == []
    assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []
    assert machine_state() == before


def test_gc_removes_what_is_left_after_everything_was_killed(lab: Callable[..., Lab]) -> None:
    before = machine_state()
    made = lab(THREE)
    supervisor = next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and is_supervisor(entry, made.name)
    )
    daemons = [int(pid) for place in ("hub", "alice", "bob") for pid in pids_in(made.scope(place))]
    assert len(daemons) == 3
    for pid in (supervisor, *daemons):
        os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: not any(pids_in(made.scope(place)) for place in ("hub", "alice", "bob")), "the daemons' end"
    )
    wait_for(lambda: not supervisors(), "the supervisor's end")
    assert everything_of(made), "the dead leave something"
    done = run_ltk("gc")
    assert f"{made.name} is gone" in done.stderr
    assert everything_of(made) == []
    assert machine_state() == before


def is_supervisor(entry: Path, topology: str) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"ltk.supervise" in words and topology.encode() in words


def test_gc_touches_nothing_that_is_up(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    assert "nothing was left behind" in run_ltk("gc").stderr
    assert made.plan() == []
    assert made.ping("alice", "10.61.0.3")["received"] == 3


def test_apply_brings_back_a_topology_of_which_every_process_was_killed(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    for place in ("hub", "alice", "bob"):
        for pid in pids_in(made.scope(place)):
            os.kill(int(pid), signal.SIGKILL)
    made.apply()
    assert made.plan() == []
    assert made.ping("alice", "10.61.0.3")["received"] == 3


def test_destroy_needs_only_the_name_even_when_the_run_folder_is_lost(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    for path in Path("/run/ltk").joinpath(made.name).glob("*.yaml"):
        path.unlink()
    run_ltk("destroy", made.name)
    assert everything_of(made) == []


def test_a_foreign_namespace_with_a_look_alike_name_survives(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    name = f"ltk-{made.name}-mine"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        made.apply()
        made.destroy()
        run_ltk("gc")
        left = subprocess.check_output(["ip", "netns", "list"], text=True)
        assert name in left
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_key_files_and_the_control_socket_are_their_owners_alone(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    for path in (*Path("/var/lib/ltk", made.name).iterdir(), *Path("/run/ltk", made.name).glob("*.sock")):
        assert path.stat().st_mode & 0o777 == 0o600, path
    for folder in (Path("/var/lib/ltk", made.name), Path("/run/ltk", made.name)):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    with socket.socket(socket.AF_UNIX) as nobody:
        pid = os.fork()
        if pid == 0:  # a child without privilege tries to connect
            os.setuid(65534)
            try:
                nobody.connect(f"/run/ltk/{made.name}/alice.sock")
            except PermissionError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
