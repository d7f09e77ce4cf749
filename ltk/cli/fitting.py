"""A table that fits the terminal: where there is no room for all of its columns, some are left out.

Rich would cut the words in all of them short; half an address is of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNBOUNDED = 100_000  # columns; what a table is measured in to find out how many it would like to have
LEAST_LAST = 20  # columns of the last one, which holds sentences and is wrapped


class Fitting:
    """Rows of `columns`, with markup; those in `wide_only` are left out of a table that would not fit.

    All but the last column are printed whole in any case, and the terminal wraps what it has no room for.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        wide_only: Collection[str] = (),
        title: str | None = None,
    ) -> None:
        shown = [name for name in columns if name not in wide_only]
        self._whole = _table(columns, rows, columns, title)
        self._brief = _table(columns, rows, shown, title) if wide_only else self._whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        free = options.update(max_width=UNBOUNDED)
        fits = Measurement.get(console, free, self._whole).maximum <= options.max_width
        yield self._whole if fits else self._brief

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        least = Measurement.get(console, options, self._brief).minimum
        return Measurement(least, max(least, Measurement.get(console, options, self._whole).maximum))


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[str], title: str | None
) -> Table:
    has_room = len(shown) == len(columns)
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=has_room, show_edge=has_room)
    for at, name in enumerate(columns):
        if name not in shown:
            continue
        longest = max(Text.from_markup(cell).cell_len for cell in [name, *(row[at] for row in rows)])
        is_last = at == len(columns) - 1
        least = min(longest, LEAST_LAST) if is_last else longest
        table.add_column(name, no_wrap=not is_last, min_width=least)
    for row in rows:
        table.add_row(*(cell for name, cell in zip(columns, row, strict=True) if name in shown))
    return table
