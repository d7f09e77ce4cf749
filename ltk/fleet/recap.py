"""What has become of each machine, as Ansible sums it up at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(
    r"(?P<name>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)"
    r"\s+failed=(?P<failed>\d+)\s"
)  # of the callback `default`, which comes with Ansible


@dataclass(frozen=True, slots=True)
class Recap:
    """Names of machines: those on which something was changed and those that are not as they should be."""

    changed: tuple[str, ...]
    unreachable: tuple[str, ...]
    failed: tuple[str, ...]  # those that were reached

    def __str__(self) -> str:
        """Who is not as it should be, and in what way; nothing where all are."""
        told = (
            (self.unreachable, "could not be reached"),
            (self.failed, "failed"),
        )
        return ", ".join(f"{' and '.join(names)} {what}" for names, what in told if names)


def recap_of(lines: Iterable[str]) -> Recap:
    """The recap among the lines that Ansible has printed; of a run that has none, an empty one."""
    found = [match for line in lines if (match := _LINE.match(_COLOUR.sub("", line) + " "))]

    def names(what: str) -> tuple[str, ...]:
        return tuple(match["name"] for match in found if match[what] != "0")

    return Recap(names("changed"), names("unreachable"), names("failed"))
