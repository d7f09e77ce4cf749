"""The pytest plugin: `lab` and `lab_factory`.

A run that uses neither pays for the import of this file and no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from ltk.testing import live

if TYPE_CHECKING:
    from ltk.testing.lab import Lab, Source

Factory: TypeAlias = "Callable[[Source], Lab]"

MARKER = "lab(source): the topology of the fixture `lab`: a file beside the test, a YAML text, or a Topology"
SECTION = "ltk"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def lab_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """`lab_factory(source)` makes a lab; `with` brings it up and takes it down, in any scope.

    What was brought up by `up()` and not taken down goes at the end of the session.
    """
    tmp_path_factory.getbasetemp()  # under the user's own name, which is root's from here on
    leave = _become_root()
    from ltk.testing.lab import Lab

    made: list[Lab] = []

    def make(source: Source) -> Lab:
        lab = Lab(source, folder=tmp_path_factory.mktemp("ltk"))
        made.append(lab)
        return lab

    yield make
    try:
        for lab in made:
            lab.down()
    finally:
        leave()


def _become_root() -> Callable[[], None]:
    """Move an ordinary user's pytest into the user's own namespaces, where its labs are; returns what leaves
    them. Where that cannot be, the test is skipped and says so."""
    if os.geteuid() == 0:
        return lambda: None
    from ltk.errors import LtkError
    from ltk.rootless import place

    try:
        return place.enter().leave
    except LtkError as error:
        pytest.skip(f"a lab needs root, or namespaces of the user's own: {error}. {error.hint or ''}".strip())


@pytest.fixture
def lab(request: pytest.FixtureRequest, lab_factory: Factory) -> Iterator[Lab]:
    """The lab that the test's marker names, up for this test alone."""
    marker = request.node.get_closest_marker("lab")
    if marker is None or len(marker.args) != 1:
        pytest.fail('the fixture lab needs to know which: @pytest.mark.lab("topology.yaml")', pytrace=False)
    source = marker.args[0]
    if isinstance(source, Path | str) and "\n" not in str(source):
        source = request.path.parent / source
    made = lab_factory(source)
    made.up()  # not `with`: what is kept of a failed test is kept by the report, before this goes on
    yield made
    made.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """When a test fails, keep what the labs say that are up, and tell where that of all others is."""
    report = yield
    if report.failed:
        kept = live.KEPT | {lab.name: lab.keep_evidence() for lab in live.LABS}
        for name, folder in kept.items():
            report.sections.append((SECTION, f"logs, status and captures of {name}: {folder}"))
    live.KEPT.clear()
    return report
