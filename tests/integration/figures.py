"""Figures: what was measured in each of many runs, against what was promised."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

# Machines on which tests run are shared, and a figure in milliseconds is then theirs as much as the
# program's. So the table says of each bar whether it was met, in every run; the test asks whether the run in
# the middle is within twice the bar, and does not judge what is less than half a second. A retry or a timer
# where there should be none costs more than that. Where the host of a virtual machine had its processors do
# something else, answers to probes come too late, and a path that was lost so is left alone for seconds: the
# bar is a generous deadline then.
ALLOWANCE = 2.0
ALLOWANCE_OF_THE_STARVED = 10.0
STARVED = 0.1  # of the processors' time
TOO_SHORT_TO_JUDGE = 0.5  # seconds
PROPERTY = "figure"


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise (`name`, as in the documents), its bar in seconds, and the measured values."""

    name: str
    what: str
    bar: float
    values: tuple[float, ...]

    def check(self, runs: int, allowance: float) -> None:
        """It was measured in all runs, and holds in general."""
        assert len(self.values) == runs, f"{self.name} was measured in {len(self.values)} of {runs} runs"
        middle = statistics.median(self.values)
        allowed = max(allowance * self.bar, TOO_SHORT_TO_JUDGE)
        assert middle <= allowed, f"{self.name}, {self.what}: {self.line()}"

    def line(self) -> str:
        """The row of a table."""
        values = sorted(self.values)
        tenth = values[-1 - len(values) // 10]
        told = (values[0], statistics.median(values), tenth, values[-1], self.bar)
        met = sum(value <= self.bar for value in values)
        judged = "met" if met == len(values) else f"MISSED in {len(values) - met}"
        numbers = " ".join(f"{1e3 * each:8.0f}" for each in told)
        return f"{self.name:<3} {self.what:<46} {len(values):4} {numbers}  {judged}"


def table(figures: Sequence[Figure]) -> list[str]:
    """The figures in milliseconds, one to a row."""
    titles = " ".join(f"{each:>8}" for each in ("least", "median", "p90", "most", "bar"))
    return [f"{'':<3} {'milliseconds':<46} runs {titles}", *(figure.line() for figure in figures)]


@dataclass(frozen=True, slots=True)
class Processors:
    """What has become of the processors' time until now, in ticks (proc_stat(5))."""

    spent: int
    stolen: int

    @classmethod
    def now(cls) -> Processors:
        ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return cls(sum(ticks), ticks[7])

    def starved_since(self) -> bool:
        """Whether the host has taken more of it since than leaves figures to the program."""
        now = self.now()
        return now.stolen - self.stolen > STARVED * (now.spent - self.spent)


Judge: TypeAlias = Callable[[Sequence["Figure"], int], None]  # figures, and in how many runs


def judge(
    record: Callable[[str, object], None], since: Processors, figures: Sequence[Figure], runs: int
) -> None:
    """Have the figures printed at the end of pytest's run, and check each. `record` is record_property.

    `since` is when they began to be measured.
    """
    for figure in figures:
        record(PROPERTY, astuple(figure))
    allowance = ALLOWANCE_OF_THE_STARVED if since.starved_since() else ALLOWANCE
    for figure in figures:
        figure.check(runs, allowance)


def recorded(reports: Iterable[pytest.TestReport]) -> list[Figure]:
    """The figures that the tests of these reports have recorded."""
    return [Figure(*told) for each in reports for name, told in each.user_properties if name == PROPERTY]
