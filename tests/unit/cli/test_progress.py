"""Long work shows on a terminal what has just been done, and is quiet in a pipe."""

from __future__ import annotations

import sys

import click
import pytest

from ltk.cli.changes import Progress
from ltk.reconcile.plan import Create
from ltk.reconcile.resources import Namespace

DONE = Create(Namespace("ltk-small-alice", "small"), "wanted and missing")


def told(capsys: pytest.CaptureFixture[str], width: int | None = None) -> str:
    with click.Context(click.Command("apply"), terminal_width=width):
        progress = Progress("applying small")
        progress(DONE)
        progress.end()
    captured = capsys.readouterr()
    assert captured.out == "", "standard output belongs to data"
    return captured.err


def test_a_terminal_is_told_what_was_done_on_one_line_which_goes_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = told(capsys)
    assert "applying small: 1  + namespace ltk-small-alice" in shown
    assert "\n" not in shown
    assert shown.endswith("\r\x1b[K")
    narrow = told(capsys, width=20)
    assert "applying small: 1  +" in narrow
    assert "ltk-small" not in narrow


def test_a_pipe_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys) == ""
