"""A command line on a machine of the test's own: no namespaces, and folders that nobody else has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commandline import YAML, Ltk, Said

from ltk.cli.main import run
from ltk.kernel import netns, paths


@pytest.fixture
def ltk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ltk:
    """`ltk("plan", file)` runs the command line in this process."""
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setattr(netns, "FOLDER", tmp_path / "netns")
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # an ordinary user's would move into namespaces

    def call(*arguments: object) -> Said:
        status = run([str(each) for each in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Said(status, captured.out, captured.err)

    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A topology of a server and a client behind a NAT."""
    path = tmp_path / "small.yaml"
    path.write_text(YAML)
    return path
