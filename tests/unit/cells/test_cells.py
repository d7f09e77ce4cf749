"""The expected table of the matrix of NATs, and that the documents tell what is expected."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from cells import KINDS, Way, hard, matrix, samples, table
from states import STATES

DOCUMENT = (Path(__file__).parents[3] / "docs" / "nat-matrix.md").read_text()


def part(name: str) -> str:
    found = re.search(f"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", DOCUMENT, re.DOTALL)
    assert found, name
    return found[1].strip()


def test_each_kind_meets_each_in_both_directions() -> None:
    pairs = Counter((cell.starts.name, cell.other.name) for cell in matrix())
    names = [kind.name for kind in KINDS]
    assert pairs == {(one, other): 1 + (one == other) for one in names for other in names}
    assert len({cell.name for cell in matrix() + samples()}) == 72 + 4


def test_who_starts_makes_no_difference() -> None:
    ways = {(cell.starts, cell.other): cell.way for cell in matrix() + samples()}
    assert ways == {(other, one): way for (one, other), way in ways.items()}


def test_what_is_not_plainly_direct_is_a_side_that_refuses_and_one_that_maps_by_destination() -> None:
    ways = {frozenset((cell.starts.name, cell.other.name)): cell.way for cell in matrix()}
    random, sequential = "APDM random", "APDM sequential"
    assert {pair: way for pair, way in ways.items() if way is not Way.DIRECT} == {
        frozenset(("firewall", random)): Way.BIRTHDAY,
        frozenset(("EIM/APDF", random)): Way.BIRTHDAY,
        frozenset(("firewall", sequential)): Way.PREDICTED,
        frozenset(("EIM/APDF", sequential)): Way.PREDICTED,
        frozenset((sequential,)): Way.PREDICTED,
        frozenset((random,)): Way.RELAY,
        frozenset((random, sequential)): Way.RELAY,
    }


def test_the_document_shows_the_table_that_is_expected() -> None:
    assert part("cells") == table({cell: cell.way.value for cell in matrix() + samples()})


def test_the_document_shows_twenty_runs_of_each_hard_pair_and_nineteen_of_them_direct() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part("runs").splitlines()[2:]]
    shown = {row[0]: (row[1], row[2]) for row in rows}
    wanted = {f"{cell.starts.name} and {cell.other.name}": (cell.way.value, "20") for cell, _ in hard()}
    assert shown == wanted
    assert all(int(row[4]) >= 19 for row in rows), rows


def test_the_document_shows_every_state_and_what_it_comes_to() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part("states").splitlines()[2:]]
    shown = [(row[0], row[1]) for row in rows]
    for state in STATES:
        assert (state.what, state.way.value) in shown
    restarted = [what for what, _ in shown if "," in what]
    assert len(restarted) == 4, "two routers restart, one moves, and one pair is silent for long"
    assert all(float(row[2].removesuffix(" s")) < 10 for row in rows), rows
