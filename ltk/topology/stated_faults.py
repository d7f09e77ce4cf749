"""The faults that a topology states, checked against the finished network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ltk.errors import InvalidInputError
from ltk.topology.expanded import Topology
from ltk.topology.faults import FlushNat, ReadOnlySecrets, RemoveTun, parse
from ltk.topology.problems import Findings


def with_stated_faults(topology: Topology, words: Sequence[str], findings: Findings) -> Topology | None:
    """The topology with these faults in its lab; None where one is none, which is then in `findings`."""
    assert topology.lab is not None, "they stand in the file below it"
    stated: list[str] = []
    for index, each in enumerate(words):
        path = ("lab", "faults", index)
        try:
            fault = parse(each, topology)
        except InvalidInputError as error:
            findings.add(path, error.problem, error.hint or "")
            continue
        if isinstance(fault, RemoveTun | FlushNat):
            findings.add(path, "is over in a moment", "once it is up: ltk fault")
        elif isinstance(fault, ReadOnlySecrets):
            findings.add(path, "would keep the lab itself from being applied", "once it is up: ltk fault")
        elif str(fault) in stated:
            findings.add(path, "is the same as one before")
        stated.append(str(fault))
    if findings.found:
        return None
    return replace(topology, lab=replace(topology.lab, faults=tuple(stated)))
