"""Tables in terminals of any width, and in pipes: no word of theirs is cut short."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ltk.cli import common
from ltk.cli.fitting import Fitting
from ltk.cli.status import tables

PEER = {
    "name": "bob",
    "path": "direct",
    "endpoint": "203.0.113.6:57939",
    "tx_bytes": 2048,
    "rx_bytes": 100,
    "reason": "direct: probe answered 0.6 s ago",
}
NODE = {"name": "alice", "role": "client", "address": "10.0.0.2", "state": "running", "peers": [PEER]}
REPORT = {
    "topology": "office",
    "state": "up",
    "nodes": [NODE],
    "drift": [],
    "faults": [],
    "interrupted": None,
    "unconfirmed": None,
}
ALWAYS = ("alice", "running", "bob", "direct", "203.0.113.6:57939", "why")
WITH_ROOM = ("client", "10.0.0.2", "2.0 KiB", "100 B")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    """What `status` prints there."""
    screen = io.StringIO()

    class Terminal(Console):
        def __init__(self, width: int = columns) -> None:
            super().__init__(file=screen, force_terminal=True, width=width, color_system=None)

    monkeypatch.setattr("rich.console.Console", Terminal)
    common.show(tables(REPORT, short=False))
    return screen.getvalue()


@pytest.mark.parametrize("columns", [20, 60, 80, 100, 120, 200])
def test_nothing_that_is_shown_is_cut_short(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(monkeypatch, columns)
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert all(word in shown for word in ALWAYS)


def test_a_usual_terminal_has_room_for_a_row_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(monkeypatch, 80).splitlines()
    assert max(map(len, shown)) <= 80
    assert [line for line in shown if "alice" in line and "probe answered 0.6 s ago" in line]


def test_a_wide_terminal_has_all_columns_and_a_narrow_one_those_that_one_looks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all(word in on_a_terminal(monkeypatch, 130) for word in WITH_ROOM)
    assert not any(word in on_a_terminal(monkeypatch, 80) for word in WITH_ROOM)


def test_a_pipe_has_all_columns_and_no_space_at_the_ends(capsys: pytest.CaptureFixture[str]) -> None:
    common.show(tables(REPORT, short=False))
    lines = capsys.readouterr().out.splitlines()
    assert all(word in "\n".join(lines) for word in ALWAYS + WITH_ROOM)
    assert lines[0] == "office: up"
    assert lines[-1].endswith("probe answered 0.6 s ago")
    assert [line for line in lines if line != line.rstrip()] == []


def test_markup_is_no_part_of_a_cells_width() -> None:
    table = Fitting(("state", "why"), [["[green]running[/green]", "it does"]])
    screen = io.StringIO()
    Console(file=screen, width=24, color_system=None).print(table)
    assert "running" in screen.getvalue()
    assert "it does" in screen.getvalue()
