"""What was found of pairs of routers: carried by pytest's reports, printed, written into a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from statistics import median

import pytest
from cells import markdown, matrix, samples, table
from harness import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "nat-matrix.md"
CELLS, RUNS, STATES = (
    "cells",
    "runs",
    "states",
)  # names of pytest's properties, and of the parts of the document


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell by its name, and what a pair of it has shown."""

    cell: str
    shown: str  # a letter of `cells.Way`; with "!" where something was not as it should be
    seconds: float  # from the first datagram to the end of the look that found it


@dataclass(frozen=True, slots=True)
class Runs:
    """Two kinds of router by their names, and what many pairs of them have shown."""

    routers: str
    way: str
    runs: int
    seconds: tuple[float, ...]  # of each that was direct, until both routers had counted data straight
    probes: tuple[int, ...]  # of each that was direct in the first attempt: sent by both sides until then

    def row(self) -> list[str]:
        """The row of a table."""
        probes = f"{median(self.probes):.0f} ({min(self.probes)}–{max(self.probes)})" if self.probes else "–"
        at_once, direct = len(self.probes), len(self.seconds)
        share = f"{direct / self.runs:.0%}"
        times = sorted(self.seconds)
        took = f"{median(times):.1f} s ({times[0]:.1f}–{times[-1]:.1f})" if times else "–"
        return [self.routers, self.way, str(self.runs), str(at_once), str(direct), share, took, probes]


@dataclass(frozen=True, slots=True)
class Ending:
    """A state of the network between two clients, how their data went in the end, and when it did."""

    what: str
    way: str
    seconds: float

    def row(self) -> list[str]:
        """The row of a table."""
        return [self.what, self.way, f"{self.seconds:.1f} s"]


def record(property_: Callable[[str, object], None], outcome: Outcome | Runs | Ending) -> None:
    """Have it printed at the end of pytest's run. `property_` is record_property."""
    match outcome:
        case Outcome():
            name = CELLS
        case Runs():
            name = RUNS
        case Ending():
            name = STATES
    property_(name, astuple(outcome))


def told(reports: Iterable[pytest.TestReport]) -> dict[str, str]:
    """By part of the document: the table in Markdown of what the tests of these reports have recorded."""
    found = [each for report in reports for each in report.user_properties]
    cells = [Outcome(*each) for name, each in found if name == CELLS]
    runs = [Runs(*each) for name, each in found if name == RUNS]
    by_name = {cell.name: cell for cell in (*matrix(), *samples())}
    parts = {}
    if cells:
        parts[CELLS] = table({by_name[each.cell]: each.shown for each in cells})
    if runs:
        titles = [
            "routers",
            "way",
            "runs",
            "in the first attempt",
            "direct",
            "share",
            "until direct",
            "probes of the first attempt",
        ]
        parts[RUNS] = markdown(titles, [each.row() for each in runs])
    endings = [Ending(*each) for name, each in found if name == STATES]
    if endings:
        titles = ["between the two", "how their data goes", "after"]
        parts[STATES] = markdown(titles, [each.row() for each in endings])
    return parts


def write_document(part: str, text: str) -> None:
    """Replace what stands between the two marks of this part of the document."""
    begin, end = (f"<!-- {part}: {word} -->" for word in ("begin", "end"))
    before, mark, rest = DOCUMENT.read_text().partition(begin)
    _, other_mark, after = rest.partition(end)
    assert mark, f"{DOCUMENT} lacks {begin}"
    assert other_mark, f"{DOCUMENT} lacks {end}"
    DOCUMENT.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
