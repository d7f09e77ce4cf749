"""What every tool has to say of itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from places import Place, Underlay

from ltk.errors import LtkError


@dataclass(frozen=True, slots=True)
class Pair:
    """A tunnel that is up: traffic for `target`, sent from `left`, goes through it.

    `nodes` are the processes of each node, by its name; `check`, called after the measuring, raises
    LtkError where the network says that the traffic went another way.
    """

    left: Place
    right: Place
    target: str
    nodes: dict[str, list[int]] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None

    @property
    def pids(self) -> list[int]:
        """The processes of all nodes."""
        return [pid for node in self.nodes.values() for pid in node]


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing to measure.

    `programs` are those it needs, each with its Debian package, and `version` is a command that prints its
    version first of all numbers; `up` brings a pair up between both ends of an
    underlay, with a folder for its files, and takes it down after the body. With `hub`, there is a third
    place for a server.
    """

    name: str
    about: str
    programs: dict[str, str]
    version: tuple[str, ...]
    up: Callable[[Underlay, Path], AbstractContextManager[Pair]]
    hub: bool = False

    @property
    def key(self) -> str:
        """The name as one word."""
        return self.name.replace(" ", "-")


def refuse(name: str, problem: str) -> LtkError:
    """The error of a tool whose figures would be another's."""
    return LtkError(f"measuring {name}", problem)
