"""Which pairs of routers let two clients talk directly: the rule, and the table that follows from it.

The expected table of the matrix is stated here and nowhere else. Nothing in here touches a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """How two clients talk in the end."""

    DIRECT = "D"  # plain simultaneous punching is enough
    PREDICTED = "P"  # directly, once ports are predicted
    BIRTHDAY = "B"  # directly, by trying many ports at once
    RELAY = "R"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of router, as a topology writes it, and the little of it on which the outcome rests."""

    name: str
    nat: str
    by_destination: bool = False  # it maps a socket to another port for another destination
    refuses: bool = False  # it filters by address and port, or such that a changed port is not let in
    sequential: bool = False  # its next port can be foretold
    hidden: bool = False  # that it maps by destination cannot be seen from a single address


def _nat(mapping: str, filtering: str, ports: str) -> str:
    names = {"EI": "endpoint-independent", "AD": "address-dependent", "APD": "address-and-port-dependent"}
    return f"{{mapping: {names[mapping]}, filtering: {names[filtering]}, ports: {ports}}}"


KINDS = (
    Kind("none", "none"),
    Kind("firewall", "firewall", refuses=True),
    Kind("EIM/EIF", "full-cone"),
    Kind("EIM/ADF", "restricted-cone"),
    Kind("EIM/APDF", "port-restricted", refuses=True),
    Kind("APDM random", "symmetric", by_destination=True, refuses=True),
    Kind("APDM sequential", "symmetric-sequential", by_destination=True, refuses=True, sequential=True),
    Kind("APDM/EIF", _nat("APD", "EI", "random"), by_destination=True),
)
ADM = Kind("ADM/APDF", _nat("AD", "APD", "random"), by_destination=True, refuses=True, hidden=True)


@dataclass(frozen=True, slots=True)
class Cell:
    """A client behind the router `starts` speaks first to one behind the router `other`."""

    starts: Kind
    other: Kind
    again: bool = False  # a kind with itself: the second of its two directions

    @property
    def name(self) -> str:
        """What it is called in tests and tables."""
        return f"{self.starts.name} to {self.other.name}" + (" again" if self.again else "")

    @property
    def way(self) -> Way:
        """How its clients talk in the end.

        Plain punching fails only where both sides refuse strangers and at least one of them maps by
        destination, so that the other cannot know from which port it will come. Then ports can be foretold
        where they come in sequence, and one side's can be guessed where the other's is fixed: if it is
        known that there is anything to be guessed.
        """
        sides = (self.starts, self.other)
        changing = [side for side in sides if side.by_destination]
        if not changing or not all(side.refuses for side in sides):
            return Way.DIRECT
        if any(side.hidden for side in changing):
            return Way.RELAY
        if all(side.sequential for side in changing):
            return Way.PREDICTED
        return Way.BIRTHDAY if len(changing) == 1 else Way.RELAY


def matrix() -> list[Cell]:
    """Each kind with each, in both directions of starting: a kind with itself twice."""
    found = []
    for one, other in itertools.combinations_with_replacement(KINDS, 2):
        found += [Cell(one, other), Cell(other, one, again=one is other)]
    return found


def samples() -> list[Cell]:
    """A router that maps by address alone is as one that maps by address and port, on two others: but the
    server has one address, sees one port from there, and cannot tell."""
    others = [kind for kind in KINDS if kind.name in ("none", "EIM/APDF")]
    return [cell for other in others for cell in (Cell(ADM, other), Cell(other, ADM))]


def hard() -> list[tuple[Cell, Cell]]:
    """The cells that take more than plain punching and are direct, each with its other direction."""
    cells = matrix()
    both = [(cell, other) for cell, other in zip(cells[::2], cells[1::2], strict=True)]
    return [(cell, other) for cell, other in both if cell.way in (Way.PREDICTED, Way.BIRTHDAY)]


def table(found: Mapping[Cell, str]) -> str:
    """In Markdown, who starts by row and the other by column; what was found only of some is left empty."""
    names = [kind.name for kind in (*KINDS, ADM)]
    shown = {(cell.starts.name, cell.other.name): "" for cell in found}
    for cell, letter in found.items():
        place = (cell.starts.name, cell.other.name)
        if letter not in shown[place].split():
            shown[place] = f"{shown[place]} {letter}".strip()
    rows = [[name, *(shown.get((name, other), "") for other in names)] for name in names]
    return markdown(["starts", *names], rows)


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned to the eye as well."""
    lines = [list(titles), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
