"""Bad input, and machines that lack something: a clear error, its exit status, and nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bad_topologies import CLEAR_SECRET, FILE, IMPOSSIBLE, KEY, MALFORMED, SECRETS, Case, lab, real
from harness import machine_state

from ltk.reconcile.apply import locked

IN_THE_WAY, MISSING, BUSY = 4, 6, 7  # exit statuses


# --- circumstances: what the machine is like while ltk runs, put back afterwards ---


@contextmanager
def somebody_at_work() -> Iterator[None]:
    with locked("bad", "applying"):
        yield


@contextmanager
def a_namespace_of_somebodys() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", "ltk-bad-alice"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", "ltk-bad-alice"], check=True)


LTK = (sys.executable, "-m", "ltk")


def with_mounts(script: str) -> tuple[str, ...]:
    """ltk where the file system has been changed, for it alone, by a shell script."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "sh", *LTK)


NO_NFT = with_mounts(f"mount --bind /dev/null {shutil.which('nft', path='/usr/sbin:/sbin:/usr/bin')}")
NO_TUN = with_mounts("mount -t tmpfs none /dev/net")
NO_CAPABILITIES = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *LTK)


UNKNOWN = [
    Case("a file that does not exist", ("nowhere.yaml", "no such file"), arguments=("apply", "nowhere.yaml")),
    Case("a folder", ("folder, not a file", "topology.yaml"), arguments=("plan", ".", "-o", "json")),
    Case("an unknown verb", ("aply", "ltk --help"), arguments=("aply", FILE)),
    Case("an unknown option", ("--forse", "ltk apply --help"), arguments=("apply", FILE, "--forse")),
    Case(
        "an unknown node to apply",
        ("--only", "zed", "hub, alice"),
        arguments=("apply", FILE, "--only", "zed"),
    ),
    Case(
        "an unknown node to run in",
        ("zed", "bad", "hub, alice"),
        arguments=("exec", FILE, "zed", "--", "true"),
    ),
    Case("an unknown node for a shell", ("zed", "bad", "hub, alice"), arguments=("shell", FILE, "zed")),
    Case(
        "an unknown node to ping",
        ("zed", "bad", "hub, alice"),
        arguments=("ping", FILE, "hub", "zed", "-o", "json"),
    ),
    Case(
        "an unknown node to ping from", ("zed", "bad", "hub, alice"), arguments=("ping", FILE, "zed", "hub")
    ),
]

NOT_UP = [
    Case(f"{verb} of {what} that is not up", words, arguments=(verb, topology, *more))
    for verb, more in {
        "status": ("-o", "json"),
        "exec": ("alice", "--", "true"),
        "shell": ("alice",),
        "ping": ("-o", "json"),
    }.items()
    for what, topology, words in (
        ("a name", "bad", ("bad", "name of a topology that is up", "ltk apply FILE")),
        ("a file", FILE, ("bad", "not up", f"ltk apply {FILE}")),
    )
] + [
    Case("destroy of a name that is not up", ("bad", "not up", "Up are:"), arguments=("destroy", "bad")),
]

MACHINE = (
    [
        Case(
            f"{verb} while another is at work",
            ("bad", f"process {os.getpid()} is at work", "run this again"),
            arguments=(verb, FILE, "-o", "json"),
            status=BUSY,
            circumstances=somebody_at_work,
        )
        for verb in ("apply", "destroy")
    ]
    + [
        Case(
            f"{verb} where somebody's namespace stands",
            ("ltk-bad-alice", "not ltk's", "Remove or rename"),
            arguments=(verb, FILE, "-o", "json"),
            status=IN_THE_WAY,
            circumstances=a_namespace_of_somebodys,
        )
        for verb in ("plan", "apply")
    ]
    + [
        Case("no nft", ("nft", "not installed", "apt-get install nftables"), status=MISSING, ltk=NO_NFT),
        Case("no TUN", ("/dev/net/tun", "CONFIG_TUN", "ltk doctor"), status=MISSING, ltk=NO_TUN),
        Case(
            "root without capabilities",
            ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "container"),
            status=MISSING,
            ltk=NO_CAPABILITIES,
        ),
    ]
)

CASES = [*MALFORMED, *IMPOSSIBLE, *SECRETS, *UNKNOWN, *NOT_UP, *MACHINE]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user stands: with a topology, a key that lies open, and a file that is no key."""
    for name, text, mode in (("open.key", KEY, 0o644), ("clear.key", CLEAR_SECRET, 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    return tmp_path


def run(case: Case, folder: Path) -> subprocess.CompletedProcess[str]:
    text = case.yaml.encode() if isinstance(case.yaml, str) else case.yaml
    (folder / FILE).write_bytes(text)
    command = [*(case.ltk or LTK), *case.arguments]
    with (folder / FILE).open() as topology:
        return subprocess.run(
            command, stdin=topology, capture_output=True, text=True, timeout=60, check=False, cwd=folder
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_a_clear_error_and_changes_nothing(case: Case, folder: Path) -> None:
    with case.circumstances():
        before = machine_state()
        done = run(case, folder)
        assert machine_state() == before
    assert done.returncode == case.status, done.stderr
    assert "Traceback" not in done.stderr
    assert CLEAR_SECRET not in done.stdout + done.stderr
    assert [word for word in case.words if word not in done.stderr] == [], done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("yaml", [lab(), real()], ids=["lab", "real hosts"])
def test_what_the_cases_start_from_is_valid(yaml: str, folder: Path) -> None:
    """Otherwise the cases above would prove nothing."""
    done = run(Case("valid", (), yaml, arguments=("validate", FILE)), folder)
    assert done.returncode == 0, done.stderr
