"""How operations are shown: to people with signs and colours, to programs as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from ltk.cli.common import say
from ltk.reconcile.plan import Operation, entry

COLOURS = {"create": "green", "update": "yellow", "remove": "red"}
DONE = {"create": "created", "update": "changed", "remove": "removed"}
TO_DO = {"create": "to create", "update": "to change", "remove": "to remove"}


def as_json(operations: Sequence[Operation]) -> list[dict[str, str]]:
    """The `changes` of the documented JSON."""
    return [entry(each) for each in operations]


def show(operations: Sequence[Operation]) -> None:
    """One line an operation on standard output, and how many there are on standard error."""
    for each in operations:
        click.echo(f"{click.style(str(each), fg=COLOURS[each.action])}  ({each.reason})")
    say(count(operations, words=TO_DO))


def count(operations: Sequence[Operation], empty: str = "nothing", words: Mapping[str, str] = DONE) -> str:
    """How many there are of each kind, as "3 created, 1 changed"."""
    counted = Counter(each.action for each in operations)
    return (
        ", ".join(f"{counted[action]} {word}" for action, word in words.items() if counted[action]) or empty
    )


class Progress:
    """A line on a terminal that says what has just been done; nothing in a pipe."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._done = 0
        self._shown = sys.stderr.isatty()

    def __call__(self, operation: Operation) -> None:
        """Take note of one finished operation."""
        self._done += 1
        if self._shown:
            width = click.get_current_context().terminal_width or 100
            line = f"{self._doing}: {self._done}  {operation}"
            click.echo(f"\r\x1b[K{line[:width]}", nl=False, err=True)

    def end(self) -> None:
        """Clear the line."""
        if self._shown and self._done:
            click.echo("\r\x1b[K", nl=False, err=True)
