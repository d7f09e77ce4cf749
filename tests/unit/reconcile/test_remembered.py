"""What was applied is known again by the very bytes that it came from, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ltk.kernel import paths
from ltk.reconcile import remembered
from ltk.reconcile.remembered import recall, remember
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology
from ltk.topology.render import render
from ltk.topology.text import Text, read_text

YAML = """
name: t
network: {subnet: 10.0.0.0/24, psk: {file: psk}}
nodes: {hub: {role: server}, alice: {}}
lab: {sites: {cloud: {hosts: [hub]}, home: {nat: port-restricted, hosts: [alice]}}}
"""
TEXT = Text(YAML.encode(), "t.yaml", Path("/etc/vpn"))


@pytest.fixture
def applied(folders: Path) -> Topology:
    """A topology that is up, as far as its folder tells."""
    topology = parse_topology(TEXT.data, file=TEXT.file, folder=TEXT.folder)
    paths.make_private_folder(paths.run_folder("t"))
    paths.applied("t").write_text(render(topology))
    remember(TEXT, topology)
    return topology


def test_the_same_text_is_known_and_so_is_the_topologys_name(applied: Topology) -> None:
    assert recall(TEXT) == applied
    assert recall(replace(TEXT, file="/another/name/of/it.yaml")) == applied
    assert recall(read_text(str(paths.applied("t")))) == applied


@pytest.mark.parametrize(
    "other", [replace(TEXT, data=TEXT.data + b" "), replace(TEXT, folder=Path("/home/alice"))]
)
def test_another_text_and_the_same_one_elsewhere_are_not(applied: Topology, other: Text) -> None:
    assert recall(other) is None


def test_what_an_other_ltk_made_of_it_does_not_count(
    applied: Topology, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders / "package").mkdir()
    (folders / "package" / "expand.py").write_text("# another one")
    monkeypatch.setattr(remembered.ltk.topology, "__path__", [str(folders / "package")])
    assert recall(TEXT) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"of": 7}', '{"of": []}', "\xff"])
def test_a_broken_file_is_as_if_there_were_none(applied: Topology, content: str) -> None:
    paths.expanded("t").write_text(content)
    assert recall(TEXT) is None
    remember(TEXT, applied)
    assert recall(TEXT) == applied


def test_nothing_is_known_when_nothing_is_up(folders: Path) -> None:
    assert recall(TEXT) is None


def test_the_file_is_nobody_elses_and_holds_no_secret(applied: Topology) -> None:
    assert paths.expanded("t").stat().st_mode & 0o077 == 0
    assert "/etc/vpn/psk" in paths.expanded("t").read_text(), "only where it is"
