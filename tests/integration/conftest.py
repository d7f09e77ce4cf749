"""Fixtures of the tests on real namespaces: a lab per test, and looks at the network itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import outcomes
import pytest
from figures import Judge, Processors, judge, recorded, table
from harness import REPOSITORY, Lab, machine_state


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-docs", action="store_true", help="put what was found of NATs into docs/nat-matrix.md"
    )


@pytest.fixture(scope="session", autouse=True)
def _needs_root() -> None:
    if os.geteuid() != 0:
        pytest.exit("these tests make namespaces and devices: run them as root", returncode=4)


@pytest.fixture(autouse=True)
def _machine_is_left_as_it_was() -> Iterator[None]:
    """Whatever a test does, the machine's own namespace is the same afterwards, and no namespace is left."""
    before = machine_state()
    yield
    after = machine_state()
    assert after == before


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """`lab(yaml)` applies a topology and destroys it after the test; `apply=False` only writes the file.

    When the test has failed, the daemons' logs are part of its report.
    """
    made: list[Lab] = []

    def make(yaml: str, *, apply: bool = True) -> Lab:
        lab = Lab(yaml, tmp_path / f"lab{len(made)}.yaml")
        made.append(lab)
        if apply:
            lab.apply()
        return lab

    yield make
    for each in made:
        report = getattr(request.node, "report_of_call", None)
        if report is not None and report.failed:
            print(each.logs())
        each.destroy()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Let fixtures know whether the test has failed."""
    report = yield
    if report.when == "call":
        item.report_of_call = report
    return report


@pytest.fixture(scope="module", autouse=True)
def _processors() -> Processors:
    """What the processors had done when a module's first test began."""
    return Processors.now()


@pytest.fixture
def held(record_property: Callable[[str, object], None], _processors: Processors) -> Judge:
    """`held(figures, runs)` has the figures printed at the end of the run, and checks each."""
    return partial(judge, record_property, _processors)


@pytest.fixture
def quickstart(lab: Callable[..., Lab]) -> Lab:
    """The topology of the README, up."""
    return lab((REPOSITORY / "topologies" / "quickstart.yaml").read_text())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured and found, whether they passed or not."""
    stats = terminalreporter.stats
    reports = [*stats.get("passed", []), *stats.get("failed", [])]
    if figures := recorded(reports):
        terminalreporter.section("figures")
        for line in table(figures):
            terminalreporter.write_line(line)
    for part, text in outcomes.told(reports).items():
        terminalreporter.section(f"pairs of routers: {part}")
        terminalreporter.write_line(text)
        if terminalreporter.config.getoption("--write-docs"):
            outcomes.write_document(part, text)
