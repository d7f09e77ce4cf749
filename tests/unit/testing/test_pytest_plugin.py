"""The plugin as it is to those who do not use it, and a topology written in Python."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ltk.errors import InvalidInputError
from ltk.testing import Lab, Topology
from ltk.topology.expanded import Role

ROOT = Path(__file__).parents[3]


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"ltk": "ltk.testing.plugin"}


def test_a_run_that_has_no_lab_pays_for_next_to_nothing() -> None:
    program = "import sys, pytest; before = set(sys.modules); import ltk.testing.plugin;"
    program += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"ltk", "ltk.testing", "ltk.testing.live", "ltk.testing.plugin"}


def test_a_topology_in_python_is_that_of_the_file() -> None:
    written = (
        Topology("chat", subnet="10.9.0.0/24", p2p="eager")
        .node("hub", role="server")
        .site("cloud", hosts=["hub"])
        .site("home", {"preset": "home", "hairpin": False}, hosts=["alice"])
        .check(reach=["alice", "hub"], within="3s")
    )
    topology = Lab(written).topology
    assert topology.name.startswith("chat-")
    assert [(node.name, node.role) for node in topology.nodes] == [
        ("hub", Role.SERVER),
        ("alice", Role.CLIENT),
    ]
    assert [check.within for check in topology.checks] == [3_000_000]
    assert topology.lab is not None
    assert topology.lab.site_of("alice").name == "home"


def test_without_a_subnet_all_nodes_are_hosts() -> None:
    topology = Lab(Topology().site("cloud", hosts=["web"])).topology
    assert [(node.name, node.role) for node in topology.nodes] == [("web", Role.HOST)]


def test_two_labs_of_one_source_have_names_of_their_own() -> None:
    long = Topology("a-name-with-24-character").site("cloud", hosts=["web"])
    names = {Lab(long).name for _ in range(3)}
    assert len(names) == 3
    assert max(map(len, names)) <= 24


def test_what_is_wrong_with_a_topology_in_python_is_said_in_the_words_of_the_file() -> None:
    with pytest.raises(InvalidInputError, match=r"lab\.sites\.home\.nat: should be"):
        Lab(Topology().site("home", "homely", hosts=["a"]))
