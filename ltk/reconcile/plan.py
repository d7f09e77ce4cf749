"""Two states in, ordered operations out. Pure: no kernel, no file, no clock.

Removals come first and in reverse order of creation, so that what is built next finds its name
free; what stands in a namespace or on a device that goes is not named one by one, since it goes with
it. Only addresses are removed after their successors are there, and after the routes that leave them:
with the last address of a device the kernel would take away all of its routes, and on the way back a
route finds the address that its gateway is reached from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ltk.errors import InTheWayError
from ltk.reconcile.resources import (
    DEVICE,
    Address,
    Bridge,
    Cable,
    Daemon,
    Key,
    Namespace,
    Program,
    Resource,
    Route,
    Ruleset,
    Setting,
    State,
    Stray,
    Tun,
)

HALF_MADE = "an earlier run was stopped in the middle of making it"


@dataclass(frozen=True, slots=True)
class Create:
    """Make what is wanted and missing."""

    resource: Resource
    reason: str
    sign = "+"
    action = "create"

    def inverse(self) -> Operation:
        return Remove(self.resource, f"undo: {self.reason}")

    def __str__(self) -> str:
        return f"+ {self.resource}"


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is there into what is wanted."""

    have: Resource
    resource: Resource
    reason: str
    sign = "~"
    action = "update"

    def inverse(self) -> Operation:
        return Update(self.resource, self.have, f"undo: {self.reason}")

    def __str__(self) -> str:
        return f"~ {self.resource}"


@dataclass(frozen=True, slots=True)
class Remove:
    """Take away what bears our mark and is not wanted."""

    resource: Resource
    reason: str
    sign = "-"
    action = "remove"

    def inverse(self) -> Operation:
        return Create(self.resource, f"undo: {self.reason}")

    def __str__(self) -> str:
        return f"- {self.resource}"


Operation: TypeAlias = Create | Update | Remove


def entry(operation: Operation) -> dict[str, str]:
    """The operation as the documented JSON has it, in `changes`."""
    return {
        "action": operation.action,
        "resource": operation.resource.kind,
        "scope": operation.resource.scope,
        "name": operation.resource.name,
        "reason": operation.reason,
    }


def plan(
    want: State,
    have: State,
    foreign: Mapping[Key, str] | None = None,
    unwanted: str = "not in the topology any more",
) -> list[Operation]:
    """The operations that turn `have` into `want`, in an order that can be executed.

    `foreign` are keys at which something stands that ltk did not make, with words for it;
    `unwanted` is the reason of a removal.
    Raises InTheWayError if one of them is wanted: it is neither changed nor removed.
    """
    _refuse_foreign(want, have, foreign or {})
    going = [resource for key, resource in have.items() if key not in want]
    scopes = {each.scope for each in going if isinstance(each, Namespace)}
    devices = {device for each in going for device in _devices(each)}
    removals = [
        Remove(resource, HALF_MADE if isinstance(resource, Stray) else unwanted)
        for resource in going
        if not _goes_by_itself(resource, scopes, devices)
    ]
    changes: list[Operation] = []
    for key, resource in want.items():
        found = have.get(key)
        if found is None:
            changes.append(Create(resource, "wanted and missing"))
        elif _stands_on(found, devices):
            changes.append(Create(resource, "goes with its device"))
        elif found != resource:
            changes.append(Update(found, resource, difference(found, resource)))
    return sorted([*removals, *changes], key=lambda each: (_stage(each), each.resource.key))


def _stage(operation: Operation) -> float:
    rank = operation.resource.rank
    if not isinstance(operation, Remove):
        return rank
    return Route.rank + 0.5 if isinstance(operation.resource, Address) else -rank - 1


def restrict(state: State, scopes: Iterable[str]) -> State:
    """The part of a state that lies wholly in the given namespaces."""
    kept = set(scopes)
    return {key: resource for key, resource in state.items() if kept.issuperset(resource.scopes)}


def difference(have: Resource, want: Resource) -> str:
    """In words, how what is there differs from what is wanted."""
    if isinstance(have, Ruleset):
        return "the rules differ"
    if isinstance(have, Daemon) and isinstance(want, Daemon):
        return _daemon_difference(have, want)
    old = have.compared
    parts = [
        f"{name} is {old[name]}, should be {new}" for name, new in want.compared.items() if old[name] != new
    ]
    return "; ".join(parts)


def _daemon_difference(have: Daemon, want: Daemon) -> str:
    if not have.running:
        return "its process does not run"
    parts = []
    if not have.attached:
        parts.append("it has lost its device")
    peers_have = {peer["name"]: peer for peer in have.config.get("peers", [])}
    peers_want = {peer["name"]: peer for peer in want.config.get("peers", [])}
    for name in sorted(peers_have.keys() | peers_want.keys()):
        old, new = peers_have.get(name), peers_want.get(name)
        if old is None:
            parts.append(f"peer {name} is missing")
        elif new is None:
            parts.append(f"peer {name} is not in the topology any more")
        elif old != new:
            changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            parts.append(f"peer {name}: {', '.join(changed)}")
    for key in sorted((have.config.keys() | want.config.keys()) - {"peers"}):
        if have.config.get(key) != want.config.get(key):
            parts.append(f"{key} is {have.config.get(key)}, should be {want.config.get(key)}")
    if (have.public_key, have.psk_ids) != (want.public_key, want.psk_ids):
        parts.append("a key has changed")
    return "; ".join(parts)


def in_the_way(want: State, have: State, foreign: Mapping[Key, str]) -> dict[Key, Key]:
    """What stands without our mark where something of ours has to be made: its key -> the key of ours.

    Beside what is there already anybody may have what they like.
    """
    return {
        place: key
        for key, resource in want.items()
        if key not in have
        for place in _places(resource)
        if place in foreign
    }


def _places(resource: Resource) -> list[Key]:
    """The keys under which something foreign would keep the resource from being made."""
    if isinstance(resource, Cable):
        return [resource.key, *((DEVICE, end.scope, end.device) for end in (resource.a, resource.b))]
    return [resource.key]


def _refuse_foreign(want: State, have: State, foreign: Mapping[Key, str]) -> None:
    taken = in_the_way(want, have, foreign)
    if taken:
        words = "; ".join(foreign[key] for key in sorted(taken))
        hint = (
            "Remove or rename it: ltk changes nothing that it did not make. Or have it taken over: "
            "ltk apply --adopt"
        )
        raise InTheWayError("planning", words, hint=hint)


def _goes_by_itself(resource: Resource, scopes: set[str], devices: set[tuple[str, str]]) -> bool:
    """Whether it goes with the `scopes` or `devices` that go, at once and for everybody to see.

    A cable to a namespace that stays is named: the kernel would take its far end away only some
    time after the near one. Daemons and programs are processes, and settings belong to nobody.
    """
    match resource:
        case Namespace() | Daemon() | Program():
            return False
        case Setting():
            return True
        case _:
            return _stands_on(resource, devices) or scopes.issuperset(resource.scopes)


def _stands_on(resource: Resource, devices: set[tuple[str, str]]) -> bool:
    return isinstance(resource, Address | Route) and (resource.scope, resource.device) in devices


def _devices(resource: Resource) -> list[tuple[str, str]]:
    """The devices, each with its namespace, that go when `resource` does."""
    match resource:
        case Cable():
            return [(end.scope, end.device) for end in (resource.a, resource.b)]
        case Tun() | Bridge() | Stray():
            return [(resource.scope, resource.device)]
        case _:
            return []
