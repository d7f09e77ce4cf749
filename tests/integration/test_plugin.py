"""The pytest plugin, in a pytest of its own: labs as fixtures, what a failed test leaves, and the example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from harness import REPOSITORY, run_ltk

from ltk.kernel import netns
from ltk.testing import Lab, Topology

RUN_LIMIT = 120.0  # seconds
EXAMPLE = REPOSITORY / "examples" / "echo-behind-nats"

HOMES = """\
name: homes
network: {subnet: 10.84.0.0/24}
nodes:
  hub: {role: server}
  alice: {}
  bob: {}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
    flat: {nat: port-restricted, hosts: [bob]}
checks:
- {reach: [alice, bob], via: direct, within: 20s}
"""
BOTH_AT_ONCE = """\
import pathlib, pytest
HERE = pathlib.Path(__file__).parent

@pytest.mark.lab("homes.yaml")
@pytest.mark.parametrize("me, other", [("one", "two"), ("two", "one")])
def test_side_by_side(lab, me, other):
    (HERE / me).write_text(lab.name)
    lab.wait_until((HERE / other).exists, "the other lab")
    assert (HERE / other).read_text() != lab.name
    lab.wait_until(lambda: lab["alice"].path_to("bob") == "direct", "a direct path")
    assert lab["alice"].ping("bob") > 0
    lab.verify()
    lab.fault("block home flat")
    lab.wait_until(lambda: lab["alice"].path_to("bob") == "relay", "the relay")
    lab.clear()
    assert lab.status()["faults"] == []
"""
FAILING = """\
import pytest

@pytest.mark.lab("homes.yaml")
def test_that_fails(lab):
    with lab["alice"].capture() as capture:
        lab["alice"].run("ping", "-c", "2", "-i", "0.1", lab["hub"].underlay)
    assert len(capture.packets) >= 4
    with lab["bob"].popen("sleep 1000"):
        lab["bob"].run("echo it is broken; exit 3")

def test_that_takes_its_lab_down_itself(lab_factory):
    with lab_factory("homes.yaml"):
        assert "this" == "that"

@pytest.fixture(scope="module")
def shared(lab_factory):
    made = lab_factory("homes.yaml")
    made.up()
    return made

def test_one(shared):
    shared["alice"].run("true")

def test_without_a_marker(lab):
    pass
"""


def run_pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest in that folder, with the plugin as it is installed; where it is not, by its name."""
    installed = any(each.name == "ltk" for each in entry_points(group="pytest11"))
    options = ["-p", "no:cacheprovider", *([] if installed else ["-p", "ltk.testing.plugin"])]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LTK_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(folder), *options, *arguments],
        cwd=folder,
        env=own | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT,
        check=False,
    )


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many tests passed, failed and so on, as the last line has it."""
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    return {word: int(many) for many, word in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "homes.yaml").write_text(HOMES)
    return tmp_path


def test_two_labs_of_one_file_stand_side_by_side(project: Path) -> None:
    (project / "test_both.py").write_text(BOTH_AT_ONCE)
    done = run_pytest(project, "-n", "2", "test_both.py")
    assert outcomes(done) == {"passed": 2}, done.stdout + done.stderr
    assert netns.names() == []


def test_what_a_failed_test_leaves_is_told_and_its_lab_is_gone(project: Path) -> None:
    (project / "test_failing.py").write_text(FAILING)
    done = run_pytest(project, "test_failing.py")
    assert outcomes(done) == {"failed": 2, "passed": 1, "error": 1}, done.stdout + done.stderr
    assert "ended with status 3:" in done.stdout
    assert "it is broken" in done.stdout
    assert '@pytest.mark.lab("topology.yaml")' in done.stdout
    folders = [Path(each) for each in re.findall(r"logs, status and captures of \S+: (\S+)", done.stdout)]
    assert len(folders) >= 2, done.stdout
    for folder in folders[:2]:
        assert {"alice.log", "hub.log", "status.json"} <= {each.name for each in folder.iterdir()}
    capture = next(each / "alice-eth0.pcapng" for each in folders if (each / "alice-eth0.pcapng").exists())
    read = subprocess.run(["tcpdump", "-n", "-r", capture], capture_output=True, text=True, check=True)
    assert "ICMP echo request" in read.stdout
    assert netns.names() == []


def test_a_lab_is_gone_when_its_block_is_left_by_an_error() -> None:
    lab = Lab(Topology("gone").site("cloud", hosts=["web"]))

    def fail_inside() -> None:
        with lab:
            assert netns.is_namespace(f"ltk-{lab.name}-web")
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            fail_inside()
        left = [name for name in netns.names() if name.startswith(f"ltk-{lab.name}-")]
        assert left == [], "a lab is still up"
    finally:
        run_ltk("destroy", lab.name, status=None)


def test_the_example_passes_and_fails_behind_nats_that_are_too_hard(tmp_path: Path) -> None:
    """Told not to expect that the hard one fails: in a network that lets everything through it would pass."""
    done = run_pytest(EXAMPLE, "-n", "2", "--runxfail", "--basetemp", str(tmp_path / "runs"), "test_echo.py")
    assert outcomes(done) == {"passed": 4, "failed": 1}, done.stdout + done.stderr
    assert "FAILED test_echo.py::test_two_peers_behind_symmetric_nats_hear_each_other" in done.stdout
    assert "assert ['', ''] == ['ben is here', 'ann is here']" in done.stdout
