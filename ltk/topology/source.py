"""A YAML text as plain data, with the line and column of every key and value.

Differs from PyYAML's own construction in what a topology needs: positions are kept, a key that
stands twice is a problem, keys are always text, and plain words follow YAML 1.2's core schema
(`no`, `on` and `12:30` are text, not a boolean or a number of YAML 1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml
from yaml.composer import Composer, ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from ltk.topology.problems import Path, Problem, dotted
from ltk.topology.values import mask_keys, quote

MAX_DEPTH = 32  # levels; a topology has 6
MAX_VALUES = 200_000  # after aliases are followed, so that a few lines cannot stand for billions
MAX_EXCERPT = 160  # characters of a source line

Plain: TypeAlias = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None
Position: TypeAlias = tuple[int, int]  # line and column, from 1

_TAG = "tag:yaml.org,2002:"
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # as PyYAML counts them
_SECRET_KEYS = frozenset({"psk", "private_key", "secret"})  # keys whose values must not be shown ...
_SECRET_SOURCES = frozenset({"file", "env", "command"})  # ... unless they only say where the secret is
_CLEAR_SECRET = re.compile(r"""(\b(?:psk|private_key|secret)["']?\s*:\s*)([^\s{][^,}]*)""")


@dataclass(slots=True)
class Source:
    """A parsed file: its data, where each part stands, and what was wrong already at this level.

    `data` is None where the text is no YAML (`problems` then says why) or empty.
    `refused` has the paths whose value was left out of `data`.
    """

    text: str
    data: Plain = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    mappings: set[Path] = field(default_factory=set)
    refused: set[Path] = field(default_factory=set)
    _secrets: list[tuple[Position, Position]] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = _LINE_BREAK.split(self.text)

    def locate(self, path: Path) -> Position:
        """Where the value at `path` stands; a mapping, and what is missing from one, is at its key."""
        for length in range(len(path), 0, -1):
            here = path[:length]
            if here in self.values:
                at_key = length < len(path) or here in self.mappings
                return self.keys.get(here, self.values[here]) if at_key else self.values[here]
        return (1, 1)

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """The problem with the value at `path`, or with its key, at its place and with its excerpt."""
        while path and isinstance(path[-1], int) and path not in self.values:
            path = path[:-1]  # one value was written where a list could stand
        position = self.keys.get(path) if at_key else None
        return self.problem_at(position or self.locate(path), path, message)

    def problem_at(self, position: Position, path: Path, message: str) -> Problem:
        """The problem with `path` that is to be shown at `position`."""
        return Problem(*position, dotted(path), message, self.excerpt(*position))

    def excerpt(self, line: int, column: int) -> str:
        """The line and, below it, a caret at the column; empty where the line is.

        Whatever may be a secret is starred out: a message may end up in a log.
        """
        if line > len(self._lines):
            return ""
        shown = mask_keys(_CLEAR_SECRET.sub(_starred, self._lines[line - 1]))
        for start, end in self._secrets:
            if start[0] <= line <= end[0]:
                first = start[1] if line == start[0] else 1
                last = end[1] if line == end[0] else len(shown) + 1
                shown = shown[: first - 1] + "*" * (last - first) + shown[last - 1 :]
        start_column = column - MAX_EXCERPT // 2 if column > MAX_EXCERPT else 0
        shown = "".join(
            c if c.isprintable() else " " for c in shown[start_column : start_column + MAX_EXCERPT]
        )
        if not shown.strip():
            return ""
        return f"    {shown.rstrip()}\n    {' ' * (column - 1 - start_column)}^"

    def star_out(self, start: Position, end: Position) -> None:
        """Never show what stands from `start` up to (not including) `end`."""
        self._secrets.append((start, end))


def parse_source(text: str) -> Source:
    """Parse YAML. Never raises: whatever is wrong is in the result."""
    source = Source(text)
    try:
        root = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = _position(mark) if mark else (1, 1)
        source.problems.append(source.problem_at(position, (), _yaml_words(error)))
    except yaml.reader.ReaderError as error:
        before = _LINE_BREAK.split(text[: error.position])
        words = f"has a character that YAML does not allow: U+{ord(str(text[error.position])):04X}"
        source.problems.append(source.problem_at((len(before), len(before[-1]) + 1), (), words))
    except (ValueError, OverflowError) as error:
        # PyYAML lets these out for escapes and directives with absurd numbers.
        source.problems.append(source.problem_at((1, 1), (), f"is not valid YAML: {error}"))
    else:
        if root is not None:
            _Walk(source).read(root)
    return source


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    """Text to nodes, and no further: nothing of Python's can be constructed from a file."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:  # PyYAML recurses; Python's stack is not for a file to exhaust
            mark = self.current_event.start_mark
            raise ComposerError(None, None, f"nested more than {MAX_DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?[0-9]{1,18}\.[0-9]{1,18}", list("-+0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Composer.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})\\Z"), _first)


class _TooMuchError(Exception):
    """The aliases of a file stand for more values than any topology has."""


@dataclass(slots=True)
class _Walk:
    """Turns nodes into plain data, noting positions and problems in `source`."""

    source: Source
    left: int = MAX_VALUES
    raised: list[tuple[Position, Path, str]] = field(default_factory=list)

    def read(self, root: Node) -> None:
        try:
            self.source.data = self.value(root, ())
        except _TooMuchError:
            self.raised = [((1, 1), (), f"stands for more than {MAX_VALUES} values (use fewer aliases)")]
        # Only now are all secrets known that an excerpt may have to hide.
        self.source.problems += [self.source.problem_at(*raised) for raised in self.raised]

    def value(self, node: Node, path: Path) -> Plain:
        self.left -= 1
        if self.left < 0:
            raise _TooMuchError
        self.source.values[path] = _position(node.start_mark)
        self.hide_secret(node, path)
        if len(path) > MAX_DEPTH:
            self.refuse(node, path, "contains itself")
            return None
        match node:
            case MappingNode(tag=tag) if tag == _TAG + "map":
                return self.mapping(node, path)
            case SequenceNode(tag=tag) if tag == _TAG + "seq":
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self.scalar(node, path)
        self.refuse_tag(node, path)
        return None

    def scalar(self, node: ScalarNode, path: Path) -> Plain:
        text: str = node.value
        try:
            match node.tag.removeprefix(_TAG):
                case "str" | "merge":
                    return text
                case "null":
                    return None
                case "bool" if text in ("true", "false"):
                    return text == "true"
                case "int":
                    return int(text)
                case "float":
                    return float(text)
        except ValueError:
            self.refuse(node, path, f"is not what its tag says: {quote(text)}")
            return None
        self.refuse_tag(node, path)
        return None

    def mapping(self, node: MappingNode, path: Path) -> Plain:
        data: dict[str, Plain] = {}
        self.source.mappings.add(path)
        for key, value_node in self.pairs(node, path):
            here = (*path, key.value)
            if here in self.source.keys:
                continue  # written in this mapping; what is merged in stands behind it
            self.source.keys[here] = _position(key.start_mark)
            data[key.value] = self.value(value_node, here)
        return data

    def pairs(self, node: MappingNode, path: Path, depth: int = 0) -> Iterator[tuple[ScalarNode, Node]]:
        """The mapping's own pairs, each key once, and then those of the mappings that `<<` names."""
        merged: list[Node] = []
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.raise_at(key, path, "has a key that is not text")
            elif key.tag == _TAG + "merge":
                merged += value.value if isinstance(value, SequenceNode) else [value]
            elif key.value in lines:
                words = (
                    f"stands twice in the same mapping (first on line {lines[key.value]}; remove one of them)"
                )
                self.raise_at(key, (*path, key.value), words)
            else:
                lines[key.value] = _position(key.start_mark)[0]
                yield key, value
        for other in merged:
            self.left -= 1
            if self.left < 0:
                raise _TooMuchError
            if not isinstance(other, MappingNode):
                self.raise_at(other, path, "merges in (<<) something that is not a mapping")
            elif depth == MAX_DEPTH:
                self.raise_at(other, path, "contains itself")
            else:
                yield from self.pairs(other, path, depth + 1)

    def hide_secret(self, node: Node, path: Path) -> None:
        """Where a secret should be named but perhaps was written out, keep it out of the excerpts."""
        if (
            isinstance(node, ScalarNode)
            and _SECRET_KEYS.intersection(path)
            and path[-1] not in _SECRET_SOURCES
        ):
            self.source.star_out(_position(node.start_mark), _position(node.end_mark))

    def refuse(self, node: Node, path: Path, words: str) -> None:
        self.raise_at(node, path, words)
        self.source.refused.add(path)

    def refuse_tag(self, node: Node, path: Path) -> None:
        self.refuse(node, path, f"has the tag {quote(node.tag)}, which means nothing here (leave it out)")

    def raise_at(self, node: Node, path: Path, words: str) -> None:
        self.raised.append((_position(node.start_mark), path, words))


def _position(mark: yaml.Mark) -> Position:
    return (mark.line + 1, mark.column + 1)


def _starred(match: re.Match[str]) -> str:
    return match.group(1) + "*" * len(match.group(2))


def _yaml_words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "it cannot be read"
    if problem == "but found another document":
        return "holds a second document (one file is one topology)"
    if "'\\t'" in problem:
        return "is not valid YAML: a tab where only spaces may stand (indent with spaces)"
    if problem == "mapping values are not allowed here":
        return (
            "is not valid YAML: a colon where none may stand (check the indent; quote text with ': ' in it)"
        )
    context = f"{error.context}, " if error.context and error.problem else ""
    return f"is not valid YAML: {mask_keys(context + problem)}"
