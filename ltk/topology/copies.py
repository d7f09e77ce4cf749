"""Nodes and sites by their final names: `count` made into numbered copies, defaults merged in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from ltk.topology.model import MAX_NAME, NAME_PATTERN, NodeDefaults, NodeSpec, SiteSpec
from ltk.topology.problems import Findings, Path

# Names that devices, namespaces and processes of a lab bear already.
RESERVED_NAMES = frozenset({"internet", "lo", "wan", "lan", "all", "default", "eth0", "supervisor", "wires"})
MIN_DIGITS = 2  # client-01, so that up to 99 copies sort as they count

S = TypeVar("S", NodeSpec, SiteSpec)


@dataclass(frozen=True, slots=True)
class Copy(Generic[S]):
    """One node or site. Where the file has no `count` for it, it is the only copy."""

    name: str
    path: Path  # of what it is a copy of
    spec: S
    index: int  # from 0
    counted: bool


NodeCopy: TypeAlias = Copy[NodeSpec]
SiteCopy: TypeAlias = Copy[SiteSpec]


def copies_of(path: Path, specs: Mapping[str, S], findings: Findings) -> dict[str, tuple[Copy[S], ...]]:
    """For each name in the mapping at `path` its copies, in order. Notes names that cannot be used."""
    copies: dict[str, tuple[Copy[S], ...]] = {}
    for name, spec in specs.items():
        here = (*path, name)
        if spec.count is None:
            copies[name] = (Copy(name, here, spec, 0, counted=False),)
        else:
            digits = max(MIN_DIGITS, len(str(spec.count)))
            copies[name] = tuple(
                Copy(f"{name}-{number:0{digits}}", here, spec, number - 1, counted=True)
                for number in range(1, spec.count + 1)
            )
        _check_name(name, copies[name][0].name, here, findings)
    return copies


def with_defaults(nodes: Mapping[str, NodeSpec], defaults: NodeDefaults) -> dict[str, NodeSpec]:
    """The nodes, each with the defaults for the keys that it does not state itself."""
    given = {key: getattr(defaults, key) for key in defaults.model_fields_set}
    return {
        name: node.model_copy(
            update={key: value for key, value in given.items() if key not in node.model_fields_set}
        )
        for name, node in nodes.items()
    }


def check_names_differ(nodes: Iterable[NodeCopy], sites: Iterable[SiteCopy], findings: Findings) -> None:
    """No two nodes or sites may share a name: it also names their namespaces."""
    owners: dict[str, str] = {}
    for kind, copies in (("node", tuple(nodes)), ("site", tuple(sites))):
        for copy in copies:
            if copy.name in owners and not findings.has(copy.path):
                findings.add(
                    copy.path, f"there is already a {owners[copy.name]} called {copy.name}", "rename one"
                )
            owners.setdefault(copy.name, kind)


def _check_name(name: str, first_copy: str, path: Path, findings: Findings) -> None:
    if not re.fullmatch(NAME_PATTERN, name) or name.endswith("\n"):
        findings.add(path, "a name is made of letters, digits and '-', and begins with a letter or digit")
    elif name in RESERVED_NAMES:
        findings.add(
            path, "this name is taken by a lab's own devices, namespaces and processes", "choose another"
        )
    elif len(first_copy) > MAX_NAME:
        which = f"{first_copy} is" if first_copy != name else "this name is"
        findings.add(
            path, f"{which} {len(first_copy)} characters long", f"at most {MAX_NAME}: it also names devices"
        )
