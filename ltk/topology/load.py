"""From a YAML file to the expanded topology, or to everything that is wrong with the file at once.

    text --parse_source--> data and places --pydantic--> TopologySpec --expand--> Topology

A value that one step refuses is left out, and its path noted as doubtful, so that the next step
still checks all the rest and concludes nothing from what is missing.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError

from ltk.topology.expand import expand
from ltk.topology.expanded import Topology
from ltk.topology.form import OWN_WORDS
from ltk.topology.model import TopologySpec
from ltk.topology.problems import Findings, InvalidTopologyError, Path, Problem
from ltk.topology.real import ChooseHere, nowhere
from ltk.topology.source import Source, parse_source
from ltk.topology.text import MAX_FILE, PLAN_MARK, read_text
from ltk.topology.values import quote
from ltk.topology.words import is_about_the_key, misspelt, path_of, words_for

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"

# Stands in for a required value that was refused or is missing, so that the rest can be checked.
_STAND_INS: Final[dict[Path, Any]] = {
    ("name",): "unnamed",
    ("network",): {"subnet": "10.0.0.0/8"},
    ("network", "subnet"): "10.0.0.0/8",
    ("nodes",): {},
    ("lab", "sites"): {},
}


def load_topology(path: str) -> Topology:
    """Read, check and expand the topology in the file `path`; "-" is standard input.

    Raises InvalidTopologyError with every problem of the file, or InvalidInputError where there is
    no file to read.
    """
    text = read_text(path)
    return parse_topology(text.data, file=text.file, folder=text.folder)


def parse_topology(
    data: bytes, *, file: str, folder: FilePath, choose_here: ChooseHere = nowhere
) -> Topology:
    """Check and expand the topology in `data`, which messages call `file`.

    Relative paths in it are taken from `folder`; `choose_here` says which node this machine is. Raises
    InvalidTopologyError with every problem.
    """
    source = parse_source(_decode(data, file))
    if source.problems and source.data is None:
        raise InvalidTopologyError(file, tuple(source.problems))
    if source.data is None:
        raise InvalidTopologyError(file, (Problem(1, 1, "", "is empty (a topology begins with name: …)"),))
    if not isinstance(source.data, dict):
        words = f"should be a mapping with the keys name, network and nodes, is {quote(source.data)}"
        raise InvalidTopologyError(file, (source.problem((), words),))
    if PLAN_MARK in source.data:
        words = f"is a saved plan and no topology (carry it out with: ltk apply {file})"
        raise InvalidTopologyError(file, (Problem(1, 1, "", words),))

    problems = list(source.problems)
    findings = Findings()
    spec = _read_model(source, findings, problems)
    here = choose_here(spec.name, spec.lab is not None) if spec is not None else None
    topology = expand(spec, folder, findings, here) if spec is not None else None
    problems += [source.problem(finding.path, finding.message) for finding in findings.found]
    if problems or topology is None:
        raise InvalidTopologyError(file, tuple(sorted(problems, key=lambda p: (p.line, p.column))))
    return topology


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_FILE:
        words = f"is larger than {MAX_FILE // 1024 // 1024} MiB (is it a topology?)"
        raise InvalidTopologyError(file, (Problem(1, 1, "", words),))
    try:
        return data.decode().removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        words = f"is not UTF-8: the byte 0x{data[error.start]:02x} cannot stand here (save the file as UTF-8)"
        raise InvalidTopologyError(file, (Problem(line, column, "", words),)) from None


def _read_model(source: Source, findings: Findings, problems: list[Problem]) -> TopologySpec | None:
    """The file as a model, less what had to be left out of it; None where nothing is left to check."""
    data: Any = source.data
    for path in source.refused:
        _refuse(data, path, findings)
    for path in _empty_values(data, ()):
        words = "is empty (give it a value, or {} for a mapping of defaults)"
        problems.append(source.problem(path, words, at_key=True))
        _refuse(data, path, findings)
    # Each round leaves out what the one before it refused; a model has few levels, so few rounds.
    for _ in range(8):
        try:
            return TopologySpec.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = path_of(detail)
                problem = source.problem(path, words_for(detail), at_key=is_about_the_key(detail))
                follows = detail["type"] == OWN_WORDS and findings.doubts_below(path)
                if problem not in problems and not follows:
                    problems.append(problem)
                if meant := misspelt(detail):
                    findings.doubtful.add((*path[:-1], meant))
                _refuse(data, path, findings)
    return None


def _empty_values(data: object, path: Path) -> list[Path]:
    """The keys, at any depth, that were written without a value."""
    match data:
        case dict():
            below = [found for key, value in data.items() for found in _empty_values(value, (*path, key))]
            return [(*path, key) for key, value in data.items() if value is None] + below
        case list():
            return [found for index, item in enumerate(data) for found in _empty_values(item, (*path, index))]
    return []


def _refuse(data: Any, path: Path, findings: Findings) -> None:
    """Leave the value at `path` out of `data`; of a list, the whole list. It is doubtful from here on."""
    index = next((at for at, part in enumerate(path) if isinstance(part, int)), len(path))
    path = path[:index]
    findings.doubtful.add(path)
    _leave_out(data, path)


def _leave_out(data: Any, path: Path) -> None:
    for part in path[:-1]:
        data = data.get(part) if isinstance(data, dict) else None
    if not path or not isinstance(data, dict):
        return
    if path in _STAND_INS:
        data[path[-1]] = _STAND_INS[path]
    elif path[:-1] in (("nodes",), ("lab", "sites")):
        data[path[-1]] = {}  # the name is still there for others to refer to
    else:
        data.pop(path[-1], None)
