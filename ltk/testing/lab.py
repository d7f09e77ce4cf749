"""A lab for tests: brought up under a name of its own, looked into, and taken down."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ltk.cli.status import collect
from ltk.reconcile import faults
from ltk.reconcile.apply import converge, exists, remove
from ltk.reconcile.kept_faults import with_faults
from ltk.reconcile.resources import scope_of
from ltk.testing import live
from ltk.testing.builder import Topology as Builder
from ltk.testing.place import Place
from ltk.topology.expanded import Topology
from ltk.topology.faults import parse
from ltk.topology.load import load_topology, parse_topology
from ltk.verify import evidence
from ltk.verify.run import Result, run_checks

POLL = 0.02  # seconds between two looks; the condition decides, not the time
OWN_NAME = 9  # characters of the topology's name; with the rest at most 24

T = TypeVar("T")
Source = str | Path | Builder

_numbers = itertools.count(1)


class Lab:
    """A topology that is up between `up` and `down`; `with Lab(…) as lab` does both.

    Its name is its own, so that several stand side by side on one machine, of the same file too.
    """

    def __init__(self, source: Source, *, folder: Path | None = None) -> None:
        """`source` is a file, a text in YAML (of more than one line), or a topology made in Python.

        `folder` is where captures go, and what is kept of a failed test; one is made when it is needed.
        Raises InvalidInputError for a source that is not valid.
        """
        written = _read(source)
        number = next(_numbers)
        self.name = f"{written.name[:OWN_NAME].rstrip('-')}-{os.getpid():x}-{number}"
        self.topology: Topology = replace(written, name=self.name)
        self._folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def folder(self) -> Path:
        """Where captures go, and what is kept."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"ltk-{self.name}-"))
        return self._folder

    def up(self) -> None:
        """Bring it up; where that fails nothing is left. Raises LtkError."""
        live.LABS.append(self)
        is_up = False
        try:
            converge(self.topology, lambda _: None, undo=False)  # it is looked at before it goes
            is_up = True
        finally:
            if not is_up:  # an error, or Ctrl-C: whoever waits for it is told, and nothing stays
                live.KEPT[self.name] = self.keep_evidence()
                self.down()

    def down(self) -> None:
        """Take it down, with all that runs in it. Fine if it is not up."""
        try:
            if exists(self.name):
                remove(self.name, lambda _: None)
        finally:
            with contextlib.suppress(ValueError):
                live.LABS.remove(self)

    def __enter__(self) -> Lab:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self in live.LABS:
            live.KEPT[self.name] = self.keep_evidence()
        self.down()

    def __getitem__(self, place: str) -> Place:
        """A node, a site (its router) or "internet"; KeyError for any other name."""
        lab = self.topology.lab
        sites = [site.name for site in lab.sites] if lab is not None else []
        if place not in [*(node.name for node in self.topology.nodes), *sites, "internet"]:
            raise KeyError(place)
        return Place(with_faults(self.topology), place, scope_of(self.name, place), self.folder)

    def status(self) -> dict[str, Any]:
        """The JSON of `ltk status`: ltk's own word, for comparison with the network's."""
        return collect(self.topology, self.name)

    def verify(self) -> list[Result]:
        """Run the `checks` of the topology; AssertionError with all that do not hold."""
        results = run_checks(self.topology, self.topology.checks)
        failed = [f"{each.check.name}: {each.problem}" for each in results if not each.passed]
        if failed:
            raise AssertionError("\n".join(failed))
        return results

    def fault(self, words: str) -> int | None:
        """Put a fault into it, in the words of `ltk fault`; returns its number, None if it is over at once.

        Raises InvalidInputError for words that are no fault here.
        """
        entry = faults.inject(self.topology, parse(words, self.topology))
        return None if entry is None else entry.number

    def clear(self, number: int | None = None) -> None:
        """Undo the fault of that number, or all of them."""
        faults.clear(self.topology, number)

    def wait_until(self, condition: Callable[[], T], awaited: str, timeout: float = 30.0) -> T:
        """Look until the condition is true, and return what it gave; AssertionError after `timeout` s."""
        return wait_until(condition, awaited, timeout)

    def keep_evidence(self) -> Path:
        """Put logs, status and the topology beside the captures, and return the folder."""
        evidence.keep(self.name, self.folder, self.status)
        return self.folder


def wait_until(condition: Callable[[], T], awaited: str, timeout: float) -> T:
    """As `Lab.wait_until`."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() >= end:
            raise AssertionError(f"waited {timeout:g} s for this: {awaited}")
        pause.wait(POLL)
    return found


def _read(source: Source) -> Topology:
    if isinstance(source, Builder):
        return parse_topology(source.text().encode(), file="a topology made in Python", folder=Path.cwd())
    if isinstance(source, str) and "\n" in source:
        return parse_topology(source.encode(), file="a text", folder=Path.cwd())
    return load_topology(str(source))
