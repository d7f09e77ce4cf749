"""Topologies to make resources of, on a machine whose folders are the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ltk.kernel import paths
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology

Parse = Callable[[str], Topology]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which ltk's own folders are, /run/ltk as `run` and /var/lib/ltk as `state`."""
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    return tmp_path


@pytest.fixture
def parse(folders: Path) -> Parse:
    """`parse(yaml)` is the expanded topology; relative paths in it are taken from `folders`."""
    return lambda text: parse_topology(text.encode(), file="t.yaml", folder=folders)
