"""Labs of ordinary users: what root can do in a lab they can, and nobody notices who is not in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from bad_topologies import real
from harness import REPOSITORY, Lab, machine_state, wait_for
from test_direct_paths import (
    test_a_restarted_server_relays_again_within_three_seconds,
    test_two_homes_become_direct_within_a_second_and_no_ping_is_lost,
)
from test_readme import AS_A_USER, do_what_it_shows
from users import ONE, OTHER, User, UserLab, ordinary_user

__all__ = [  # run once more, as an ordinary user, with the fixture `lab` of this file
    "test_a_restarted_server_relays_again_within_three_seconds",
    "test_two_homes_become_direct_within_a_second_and_no_ping_is_lost",
]

QUICKSTART = (REPOSITORY / "topologies" / "quickstart.yaml").read_text()
CHECKS = "checks:\n- {reach: [alice, bob], via: direct, within: 20s}\n- {reach: [alice, hub]}\n"
INVALID, IN_THE_WAY, MISSING = 3, 4, 6  # exit statuses
FORBIDDEN = (sys.executable, str(Path(__file__).with_name("no_namespaces.py")))  # a machine that forbids it
LAB_TEST = """
import pytest

@pytest.mark.lab("q.yaml")
def test_somebody_answers(lab):
    assert lab["alice"].ping("hub") > 0
    assert lab["alice"].run("id", "-u").stdout == "0\\n"
"""


@pytest.fixture
def user(request: pytest.FixtureRequest) -> Iterator[User]:
    with ordinary_user() as user:
        yield user
        if has_failed(request):
            user.end()


@pytest.fixture
def lab(user: User, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """`lab(yaml)` applies a topology as an ordinary user, and destroys it after the test."""
    made: list[UserLab] = []

    def make(yaml: str) -> Lab:
        lab = UserLab(yaml, user.home / f"lab{len(made)}.yaml", user)
        made.append(lab)
        lab.apply()
        return lab

    yield make
    for each in made:
        if has_failed(request):
            print(each.logs())
        each.destroy()


def has_failed(request: pytest.FixtureRequest) -> bool:
    report = getattr(request.node, "report_of_call", None)
    return report is not None and report.failed


def test_a_user_without_privilege_has_a_lab_and_the_machine_is_as_before(user: User) -> None:
    before, mounts = machine_state(), Path("/proc/self/mountinfo").read_text()
    lab = UserLab(QUICKSTART + CHECKS, user.home / "q.yaml", user)
    user.ltk("apply", "q.yaml")
    during = machine_state()
    assert during.pop("supervisors") != before.pop("supervisors"), "the lab runs on this machine"
    assert during == before
    counted = lab.counters("internet")
    result = lab.ping("alice", "10.0.0.3", count=10)
    assert result["received"] == 10, result["output"]
    assert lab.counters("internet")["carried_udp"] >= counted["carried_udp"] + 20
    assert lab.plan() == []
    assert set(lab.apply()["writes"].values()) == {0}
    inside = user.ltk("exec", "quickstart", "alice", "--", "sh", "-c", "id -u; ls /sys/class/net; pwd")
    assert inside.stdout.split() == ["0", "eth0", "lo", "ltk0", str(user.home)]
    user.ltk("destroy", "quickstart")
    wait_for(lambda: not user.processes(), "all of it to end", 5)
    assert user.left() == {"processes": [], "files": []}
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_what_the_machine_has_in_a_file_system_that_is_covered_is_still_there(user: User) -> None:
    UserLab(QUICKSTART, user.home / "q.yaml", user)

    def in_a_run_of_its_own(script: str) -> tuple[str, ...]:
        """As on most machines, for one command: /run is a file system."""
        return ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none /run && {script} && exec "$@"', "sh")

    begun = in_a_run_of_its_own("mkdir /run/theirs && cp q.yaml /run/theirs && chmod -R a+rX /run/theirs")
    user.ltk("apply", "/run/theirs/q.yaml", before=begun)
    seen = user.ltk("exec", "quickstart", "alice", "--", "cat", "/run/theirs/q.yaml")
    assert seen.stdout == (user.home / "q.yaml").read_text()
    elsewhere = in_a_run_of_its_own("mkdir /run/later && cd /run/later")
    refused = user.ltk("status", "quickstart", status=INVALID, before=elsewhere)
    assert "going on in /run/later: it is not there" in refused.stderr
    user.ltk("destroy", "quickstart")


def test_every_verb_finds_the_users_lab(user: User, lab: Callable[..., Lab]) -> None:
    made = lab(QUICKSTART + CHECKS)
    user.ltk("ping", "quickstart")
    assert made.status()["state"] == "up"
    assert "direct" in user.ltk("why", "quickstart", "alice", "bob").stdout
    assert "alice" in user.ltk("graph", "quickstart", "-f", "dot").stdout
    assert user.ltk("nat", "quickstart", "home").stdout
    user.ltk("test", "--no-apply", "quickstart", "--junit", "report.xml")
    user.ltk("fault", "quickstart", "block", "alice", "bob")
    assert "block alice bob" in user.ltk("fault", "quickstart").stdout
    user.ltk("fault", "quickstart", "clear")
    words = ("capture", "quickstart", "alice:ltk0", "-w", "c.pcapng", "--seconds", "0.5")
    user.ltk(*words)
    serves_metrics_in_the_machines_own_network(user)
    for file in ("c.pcapng", "report.xml"):
        assert (user.home / file).stat().st_uid == user.uid, file
    completion = {"_LTK_COMPLETE": "bash_complete", "COMP_WORDS": "ltk status qui", "COMP_CWORD": "2"}
    assert "quickstart" in user.ltk(**completion, status=None).stdout


def serves_metrics_in_the_machines_own_network(user: User) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "ltk", "metrics", "quickstart", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        user.command(*words), env=user.environment, stderr=subprocess.PIPE, text=True
    ) as serving:
        try:
            assert serving.stderr
            told = serving.stderr.readline()
            assert "serving" in told, told
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                assert b'node="alice"' in page.read()
        finally:
            serving.terminate()


def test_a_topology_is_tried_and_taken_down(user: User) -> None:
    (user.home / "q.yaml").write_text(QUICKSTART + CHECKS)
    done = json.loads(user.ltk("test", "q.yaml", "-o", "json").stdout)
    assert [each["passed"] for each in done["checks"]] == [True, True]


def test_two_users_have_labs_of_the_same_name_and_neither_sees_the_others() -> None:
    with ordinary_user(ONE) as one, ordinary_user(OTHER) as other:
        labs = [UserLab(QUICKSTART, each.home / "q.yaml", each) for each in (one, other)]
        labs[0].apply()
        assert "Up are: none" in other.ltk("status", "quickstart", status=INVALID).stderr
        labs[1].apply()
        for each in labs:
            assert each.ping("alice", "10.0.0.1")["received"] == 3
        labs[0].destroy()
        wait_for(lambda: not one.processes(), "the first lab to end", 5)
        assert labs[1].ping("alice", "10.0.0.1")["received"] == 3
        labs[1].destroy()


@pytest.mark.parametrize("killed", ["ltk.rootless", ""], ids=["the keeper", "everything"])
def test_what_was_killed_is_cleared_away_and_the_next_command_starts_clean(killed: str, user: User) -> None:
    lab = UserLab(QUICKSTART, user.home / "q.yaml", user)
    lab.apply()
    victims = user.processes()
    for pid in user.processes(killed):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not user.processes("ltk.rootless"), "the keeper to end", 5)
    assert "looking at quickstart: it is not up" in user.ltk("status", "q.yaml", status=INVALID).stderr
    assert set(user.processes()) & set(victims) == set(), "something of the lab has stayed"
    lab.apply()
    assert lab.ping("alice", "10.0.0.1")["received"] == 3
    lab.destroy()


def test_the_commands_of_the_document_on_this_do_what_it_shows(user: User) -> None:
    shutil.copytree(REPOSITORY / "topologies", user.home / "topologies")
    do_what_it_shows(AS_A_USER, user.home, user.environment, user.command)


def test_whoever_has_no_lab_leaves_nothing_by_looking(user: User) -> None:
    user.ltk("gc")
    assert user.left()["files"] == []
    user.ltk("status", "nothing", status=INVALID)


def test_a_machine_that_forbids_it_is_told_about_and_nothing_is_left(user: User) -> None:
    (user.home / "q.yaml").write_text(QUICKSTART)
    done = user.ltk("apply", "q.yaml", status=MISSING, before=FORBIDDEN)
    assert "user.max_user_namespaces is 0" in done.stderr
    assert "sysctl -w user.max_user_namespaces=" in done.stderr
    looked = user.ltk("doctor", status=MISSING, before=FORBIDDEN)
    assert "MISSING root" in looked.stdout
    assert "sysctl -w user.max_user_namespaces=" in looked.stdout
    valid = user.ltk("validate", "q.yaml", before=FORBIDDEN)
    assert "q.yaml: valid" in valid.stdout + valid.stderr


def run_pytest(user: User, *before: str) -> subprocess.CompletedProcess[str]:
    """pytest as this user runs it, on a test with a lab."""
    (user.home / "q.yaml").write_text(QUICKSTART)
    (user.home / "test_lab.py").write_text(LAB_TEST)
    words = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "--rootdir", str(user.home)]
    own = {name: value for name, value in user.environment.items() if not name.startswith("PYTEST_")}
    installed = any(each.name == "ltk" for each in entry_points(group="pytest11"))
    return subprocess.run(
        [*before, *user.command(*words, *([] if installed else ["-p", "ltk.testing.plugin"]))],
        cwd=user.home,
        env=own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_tests_with_labs_run_as_an_ordinary_user_and_leave_nothing(user: User) -> None:
    done = run_pytest(user)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_without_root_and_without_namespaces_tests_with_labs_are_skipped(user: User) -> None:
    done = run_pytest(user, *FORBIDDEN)
    assert "1 skipped" in done.stdout, done.stdout + done.stderr
    assert "a lab needs root" in done.stdout
    assert "user.max_user_namespaces" in done.stdout


def test_the_doctor_says_what_an_ordinary_user_has(user: User) -> None:
    findings = json.loads(user.ltk("doctor", "-o", "json").stdout)["findings"]
    root = findings[0]
    assert root["what"] == "root"
    assert root["present"]
    assert f"user {ONE}, in a user namespace" in root["detail"]
    assert [each for each in findings if each["needed"] and not each["present"]] == []


def test_a_folder_that_somebody_else_has_made_is_not_used(user: User) -> None:
    folder = user.run_time / "ltk"
    folder.mkdir()
    folder.chmod(0o777)
    try:
        done = user.ltk("status", "quickstart", status=IN_THE_WAY)
        assert str(folder) in done.stderr
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_real_host_is_roots(user: User) -> None:
    (user.home / "q.yaml").write_text(real())
    done = user.ltk("apply", "q.yaml", "--node", "hub", status=MISSING)
    assert "changed by root alone" in done.stderr
