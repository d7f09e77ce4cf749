"""A plan in a file: what was shown is what will be done, or nothing is.

The file holds what is wanted, spelled out; the changes as they were shown; and, namespace by namespace, a
digest of what was there. No key is in it: those that the topology names are read, and those that a lab
lacks are made, when the plan is carried out.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import Any

from ltk.errors import ChangedError, InTheWayError, InvalidInputError
from ltk.node.digest import Digester
from ltk.reconcile.files import write_private
from ltk.reconcile.plan import Operation, entry
from ltk.reconcile.resources import Daemon, Resource, State
from ltk.topology.expanded import Topology
from ltk.topology.text import MAX_READ, PLAN_MARK, Text

FORM = 1  # of the file; another one is refused
BEGINNING = re.compile(rb'\s*\{\s*"' + PLAN_MARK.encode() + rb'"')
NAMED = 3  # differences of each kind that an error names; the rest it counts
SIGNS = {"create": "+", "update": "~", "remove": "-"}
MACHINE = "the machine's own files"  # what stands in no namespace


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What a file says: what is wanted, the changes that were shown, and digests of what was there."""

    file: str
    wanted: Text
    changes: tuple[Mapping[str, str], ...]
    seen: dict[str, str]

    def agree(self, operations: Sequence[Operation], have: State) -> None:
        """Raises ChangedError unless `operations` are those that were shown, and `have` is what was there."""
        now = tuple(entry(each) for each in operations)
        words = "; ".join(_differences(self.changes, now) or self._elsewhere(have))
        if words:
            hint = "Look at what is to do now, and save that: ltk plan TOPOLOGY --save FILE"
            raise ChangedError(f"applying the plan {self.file}", f"since it was made, {words}", hint=hint)

    def _elsewhere(self, have: State) -> list[str]:
        """Where something has changed that the plan would not have touched."""
        now = digests(have)
        scopes = [each for each in sorted(self.seen | now) if self.seen.get(each) != now.get(each)]
        return [f"something has changed in {_some([each or MACHINE for each in scopes])}"] if scopes else []


def is_plan(data: bytes) -> bool:
    """Whether a text means to be a saved plan, and not a topology."""
    return BEGINNING.match(data) is not None


def write(path: Path, topology: Topology, operations: Sequence[Operation], have: State) -> None:
    """Save the plan that turns `have` into what `topology` wants.

    Replaces a plan that was saved before; raises InTheWayError for any other file.
    """
    from ltk.topology.render import render  # only now: a verb on what is up needs no YAML

    if path.exists() and not (path.is_file() and is_plan(path.read_bytes()[:MAX_READ])):
        hint = "Give it another name, or remove what is there."
        raise InTheWayError(f"saving the plan to {path}", "something else is there", hint=hint)
    document = {
        PLAN_MARK: FORM,
        "topology": topology.name,
        "wanted": render(topology),
        "changes": [entry(each) for each in operations],
        "seen": digests(have),
    }
    write_private(path, json.dumps(document | {"digest": _digest(document)}, indent=1) + "\n")


def read(text: Text) -> SavedPlan:
    """The plan that stands in a text; raises InvalidInputError for one that is damaged or was edited."""
    doing = f"reading the plan {text.file}"
    hint = "Make it anew: ltk plan TOPOLOGY --save FILE"
    try:
        document = json.loads(text.data)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(doing, f"it is damaged: {error}", hint=hint) from None
    form = document[PLAN_MARK]
    if form != FORM:
        problem = f"it has the form {json.dumps(form)}, and this ltk reads the form {FORM}"
        raise InvalidInputError(doing, problem, hint=hint)
    intact = document.pop("digest", None) == _digest(document)
    match document:
        case {"wanted": str(wanted), "changes": list(changes), "seen": dict(seen)} if intact:
            plan = Text(wanted.encode(), text.file, text.folder)
            return SavedPlan(text.file, plan, tuple(changes), seen)
    raise InvalidInputError(doing, "it is not as it was saved: somebody has edited it", hint=hint)


def digests(have: State) -> dict[str, str]:
    """By namespace, a hash of all that bears the mark in it."""
    digester = Digester()
    by_scope: dict[str, list[str]] = defaultdict(list)
    for key in sorted(have):
        by_scope[have[key].scope].append(_text(have[key], digester))
    return {scope: blake2s("\n".join(texts).encode()).hexdigest() for scope, texts in by_scope.items()}


def _text(resource: Resource, digester: Digester) -> str:
    """All that is compared of a resource; what a daemon is told may stand in any order."""
    if isinstance(resource, Daemon):
        told = digester.digest(resource.config, resource.public_key, resource.psk_ids)
        return f"{resource.key} {told} {resource.attached} {resource.running}"
    return " ".join([resource.kind, *map(repr, resource.compared.values())])


def _differences(then: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> list[str]:
    """In words, how the changes that were shown differ from those that are to be made now."""
    if list(then) == list(now):
        return []
    if not now:
        return ["all that it would do has come about"]
    lines_then, lines_now = [_line(each) for each in then], [_line(each) for each in now]
    before, after = set(lines_then), set(lines_now)
    added = [each for each in lines_now if each not in before]
    gone = [each for each in lines_then if each not in after]
    words = [f"this has come to be done: {_some(added)}"] if added else []
    return words + ([f"this is not to be done any more: {_some(gone)}"] if gone else [])


def _line(change: Mapping[str, Any]) -> str:
    sign = SIGNS.get(change["action"], "?")
    scope = f" in {change['scope']}" if change["scope"] not in ("", change["name"]) else ""
    return f"{sign} {change['resource']} {change['name']}{scope} ({change['reason']})"


def _some(words: Sequence[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _digest(document: Mapping[str, object]) -> str:
    """A hash by which a file that was edited is found out; it keeps nobody from forging one."""
    return blake2s(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
