"""The disk of the secrets takes no writes: what then works, what fails and says so, what is left of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Lab, run_ltk, wait_for
from test_destroy import is_supervisor

from ltk.cli.main import run as ltk
from ltk.kernel import mounts, paths

KEY = "LTK_TEST_KEY"
BOB = "10.95.0.3"
NETWORK = f"""
name: locked
network: {{subnet: 10.95.0.0/24}}
nodes:
  hub: {{role: server, address: 10.95.0.1}}
  alice: {{address: 10.95.0.2, private_key: {{env: {KEY}}}}}
  bob: {{address: {BOB}}}
lab:
  sites:
    cloud: {{hosts: [hub, alice, bob]}}
"""
MORE = NETWORK.replace("  bob:", "  carol: {address: 10.95.0.4}\n  bob:").replace("bob]", "bob, carol]")


def new_key() -> str:
    key: str = json.loads(run_ltk("keygen", "-o", "json").stdout)["private_key"]
    return key


def refusal(folder: Path) -> int | None:
    """What the kernel says to who writes there; None where it lets them."""
    file = folder / "written"
    try:
        file.touch()
    except OSError as error:
        return error.errno
    file.unlink()
    return None


@pytest.fixture
def locked(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab in force, whose secrets' disk has just become read-only."""
    monkeypatch.setenv(KEY, new_key())
    made = lab(NETWORK)
    assert made.ping("alice", BOB)["received"] == 3
    assert ltk(["fault", "locked", "secrets", "read-only"]) == 0
    return made


def test_a_read_only_disk_of_secrets_stops_new_keys_and_nothing_else(
    locked: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paths.state_folder("locked")
    assert refusal(folder) == errno.EROFS, "the disk takes writes"
    assert [each["fault"] for each in locked.status()["faults"]] == ["secrets read-only"]
    assert locked.apply()["changes"] == []
    again = run_ltk("fault", "locked", "secrets", "read-only", status=3)
    assert "it is in force already" in again.stderr

    old = (folder / "alice.key").read_text()
    monkeypatch.setenv(KEY, new_key())
    refused = run_ltk("apply", str(locked.path), status=None)
    assert refused.returncode in (1, 5)
    assert f"writing {folder}/alice.key: Read-only file system" in refused.stderr
    assert "make it writable" in refused.stderr
    locked.rewrite(MORE)
    refused = run_ltk("apply", str(locked.path), status=None)
    assert refused.returncode in (1, 5)
    assert "Read-only file system" in refused.stderr
    assert (folder / "alice.key").read_text() == old

    before = locked.daemon_pid("alice")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: is_another(locked, before), "alice's daemon to start with the key that it has")
    assert locked.ping("alice", BOB, "-W", "5", count=5)["received"] > 0

    assert ltk(["fault", "locked", "clear"]) == 0
    assert refusal(folder) is None
    locked.apply()
    assert (folder / "alice.key").read_text().strip() == os.environ[KEY]
    wait_for(lambda: locked.ping("alice", "10.95.0.4", count=1)["received"], "an answer under the new key")
    assert locked.status()["faults"] == []


def is_another(lab: Lab, before: int) -> bool:
    """Whether alice's daemon is another one, and answers."""
    nodes = {each["name"]: each for each in lab.status()["nodes"]}
    return nodes["alice"]["state"] == "running" and lab.daemon_pid("alice") != before


@pytest.mark.parametrize("how", ["destroy", "gc"])
def test_a_read_only_disk_goes_with_the_lab_however_that_goes(how: str, locked: Lab) -> None:
    if how == "destroy":
        locked.destroy()
    else:
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        pids = [int(entry.name) for entry in entries if is_supervisor(entry, locked.name)]
        for pid in pids:  # its daemons end with it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "locked is gone" in run_ltk("gc").stderr, "gc to find the lab without a supervisor")
    assert paths.state_folder("locked") not in mounts.places()
    assert not paths.state_folder("locked").exists()


def test_a_fault_that_was_killed_halfway_is_cleared(locked: Lab) -> None:
    """Between the two calls of which it is made, and with one mount upon another."""
    folder = paths.state_folder("locked")
    mounts.make_read_only(folder)
    assert ltk(["fault", "locked", "clear"]) == 0
    assert folder not in mounts.places()
    assert refusal(folder) is None
