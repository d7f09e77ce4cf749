"""Every kind of router with every other, in both directions of starting: direct exactly where that can be.

What each pair goes through is told in `matrix`, what is expected of it in `cells`. Pairs of all selected
cells run side by side; the table that they make is printed at the end of the run, and `--write-docs` puts
it into docs/nat-matrix.md.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cells import Cell, matrix, samples
from matrix import Course, fields
from outcomes import Outcome, record

CELLS = (*matrix(), *samples())


@pytest.fixture(scope="module")
def courses(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Course]:
    """What the pairs of all cells that were selected have shown."""
    here = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params["cell"] for item in here]
    with fields("matrix", chosen, tmp_path_factory.mktemp("matrix")) as field:
        field.run()
    return {course.pair.cell: course for course in field.courses}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_two_kinds_of_router_are_passed_directly_exactly_where_that_can_be(
    cell: Cell, courses: dict[Cell, Course], record_property: Callable[[str, object], None]
) -> None:
    """Direct or relayed as the rule says, and truly so: with the relay cut, with the direct path blocked
    and all mappings forgotten, and once it is open again."""
    course = courses[cell]
    record(record_property, Outcome(cell.name, course.shown, course.seconds))
    assert course.problems == [], f"{cell.name}, expected {cell.way}"
