"""The journal of a run: what it is about to change, and how that was before, on disk before it is done.

One JSON document a line:

    {"version": 1, "process": 4711, "doing": "applying"}
    {"undo": {…}}                        what is touched and how it was (`ltk.reconcile.undo`)
    {"begun": ["+ namespace …", …]}      before each phase: its operations
    {"undoing": "loading the rules …"}   from here on, the run takes back what it did
    {"until": 812.5, "auto": false}      it is done and awaits confirmation; the last such line counts

A run that has ended takes its journal away. One that is found without its run was left by a killed one:
it tells how far that had come, and nothing depends on it, so that whatever it holds is in nobody's way.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltk.errors import LtkError
from ltk.reconcile.undo import Undo, undo_from_json

VERSION = 1


@dataclass(frozen=True, slots=True)
class Left:
    """What a journal says. One that cannot be read, or is of another version, says nothing: all is empty.

    `begun` are operations, in words; `until` (seconds of `now`) is the end of waiting for a confirmation.
    """

    process: int | None = None
    doing: str = "working on"
    undo: Undo | None = None
    begun: tuple[str, ...] = ()
    undoing: str | None = None
    until: float | None = None
    auto: bool = False

    def __str__(self) -> str:
        who = "an earlier run" if self.process is None else f"process {self.process}"
        undoing = f"; it was undoing them: {self.undoing}" if self.undoing else ""
        return f"{who} was stopped while {self.doing} it; {len(self.begun)} operations had begun{undoing}"


class Journal:
    """A journal that is being written; each line is on disk when its method returns."""

    def __init__(self, path: Path, doing: str, undo: Undo) -> None:
        """Begin a journal in the place of any other."""
        self._path = path
        fresh = path.with_name(f".{path.name}.new")
        head = {"version": VERSION, "process": os.getpid(), "doing": doing}
        _write(fresh, os.O_CREAT | os.O_TRUNC, head, {"undo": undo.to_json()})
        fresh.replace(path)

    def begin(self, operations: tuple[str, ...]) -> None:
        """Note operations that are about to be carried out."""
        note(self._path, {"begun": operations})

    def undoing(self, why: str) -> None:
        """Note that all is being taken back."""
        note(self._path, {"undoing": why})


def now() -> float:
    """The seconds in which deadlines are written down: since the machine started, and on while it sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def note(path: Path, line: dict[str, Any]) -> None:
    """Append a line to a journal; raises LtkError where that cannot be written."""
    _write(path, os.O_APPEND, line)


def read(path: Path) -> Left | None:
    """What the journal says, up to where it is torn; None where there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return Left()
    left: Left | None = None
    for line in data.split(b"\n")[:-1]:  # what no newline ends was not written to its end
        try:
            entry = json.loads(line)
            left = _head(entry) if left is None else _more(left, entry)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            break
    return left or Left()


def _head(entry: Any) -> Left:
    if entry["version"] != VERSION:
        raise ValueError("of another version")
    return Left(process=int(entry["process"]), doing=str(entry["doing"]))


def _more(left: Left, entry: Any) -> Left:
    match entry:
        case {"undo": dict(undo)}:
            return replace(left, undo=undo_from_json(undo))
        case {"begun": list(begun)}:
            return replace(left, begun=(*left.begun, *map(str, begun)))
        case {"undoing": str(why)}:
            return replace(left, undoing=why)
        case {"until": int() | float() as until, "auto": bool(auto)}:
            return replace(left, until=until, auto=auto)
    raise ValueError("no line of a journal")


def _write(path: Path, mode: int, *lines: dict[str, Any]) -> None:
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | mode, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise LtkError(f"writing {path}", str(error.strerror)) from error
