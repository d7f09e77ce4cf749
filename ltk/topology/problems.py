"""What is wrong with a topology file: where it stands, in words, with the line it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ltk.errors import InvalidInputError

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the keys, and the positions in lists (from 0), from the top of the file down."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file. `line` and `column` count from 1, `column` in characters."""

    line: int
    column: int
    key: str  # dotted, as `dotted` writes it; empty for the file as a whole
    message: str  # "what is wrong (what would be right)"
    excerpt: str = ""  # the source line, and below it a caret; secrets starred out

    def located(self, file: str) -> str:
        """`file:line:column: key: message`, and the excerpt on lines of its own."""
        key = f"{self.key}: " if self.key else ""
        head = f"{file}:{self.line}:{self.column}: {key}{self.message}"
        return f"{head}\n{self.excerpt}" if self.excerpt else head


class InvalidTopologyError(InvalidInputError):
    """A topology file that cannot be used. `problems` has all of them, in the file's order."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"reading {file}", many)
        self.file = file
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(problem.located(self.file) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that is not yet located: it knows the path but not the line."""

    path: Path
    message: str


@dataclass(slots=True)
class Findings:
    """Collects what the checks find, so that one run reports everything.

    `doubtful` holds the paths whose value was refused and left out. Checks ask `doubts` before they
    conclude anything from such a value, so that one mistake is reported once.
    """

    found: list[Finding] = field(default_factory=list)
    doubtful: set[Path] = field(default_factory=set)

    def add(self, path: Path, problem: str, remedy: str = "") -> None:
        """Note a problem with the value at `path`; the same one is noted once."""
        finding = Finding(path, f"{problem} ({remedy})" if remedy else problem)
        if finding not in self.found:
            self.found.append(finding)

    def has(self, path: Path) -> bool:
        """Whether a problem was noted with the value at `path` or with a part of it."""
        return any(finding.path[: len(path)] == path for finding in self.found)

    def doubts(self, path: Path) -> bool:
        """Whether the value at `path` was refused, or one that it is part of."""
        return any(path[:length] in self.doubtful for length in range(len(path) + 1))

    def doubts_below(self, path: Path) -> bool:
        """Whether a part of the value at `path` was refused."""
        return any(len(doubted) > len(path) and doubted[: len(path)] == path for doubted in self.doubtful)


def dotted(path: Path) -> str:
    """A path as people write it: `lab.sites.home.hosts[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
