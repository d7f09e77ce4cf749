"""What differs from a topology that is up, and one repair of it.

A repair is an apply of its own kind: it makes the same plan and carries it out in the same way. But nobody
waits for it, so that it does what it can: what somebody else has put into our places is left there, with all
that would stand on it, and the rest is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from ltk.kernel import netns, sysctl
from ltk.reconcile.apply import observed, wanted
from ltk.reconcile.execute import execute
from ltk.reconcile.plan import Operation, in_the_way, plan
from ltk.reconcile.resources import Key, Namespace, OwnSetting, Setting, State
from ltk.topology.expanded import Topology


@dataclass(frozen=True, slots=True)
class Difference:
    """What would put everything right, and in words what is in the way of more."""

    operations: list[Operation]
    in_the_way: tuple[str, ...]


def look(topology: str, want: State) -> Difference:
    """Compare what is there with `want`. Changes nothing and takes no lock.

    Raises LtkError where something vanishes while it is being looked at.
    """
    found = observed(topology, want)
    foreign = in_the_way(want, found.have, found.foreign)
    words = tuple(sorted({found.foreign[place] for place in foreign}))
    return Difference(plan(_without(want, foreign.values()), found.have), words)


def _without(want: State, keys: Iterable[Key]) -> State:
    """What can be there although these cannot: all but them, and but what is in such a namespace."""
    missing = set(keys)
    closed = {scope for kind, scope, _ in missing if kind == Namespace.kind}
    return {key: each for key, each in want.items() if key not in missing and closed.isdisjoint(each.scopes)}


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done, and that of it which is not so when it is looked at again."""

    done: list[Operation]
    in_vain: list[Operation]


def repair(topology: Topology, known: State | None = None) -> Repair:
    """Put right what differs, and look at it again. The caller has the lock.

    `known` as of `wanted`. What others change meanwhile is for the next look. Raises LtkError where an
    operation fails.
    """
    want = wanted(topology, known)
    operations = look(topology.name, want).operations
    if not operations:
        return Repair([], [])
    execute(topology.name, operations, lambda _: None)
    left = {each.resource.key for each in look(topology.name, want).operations}
    return Repair(
        [each for each in operations if each.resource.key not in left],
        [each for each in operations if each.resource.key in left],
    )


Values = Mapping[Key, str | None]


def settings(want: State) -> Values:
    """What the wanted sysctls are set to at this moment; of a namespace that does not exist, none."""
    own = [each for each in want.values() if isinstance(each, OwnSetting)]
    found: dict[Key, str | None] = {each.key: sysctl.read(each.setting) for each in own}
    wanted_here = sorted((each for each in want.values() if isinstance(each, Setting)), key=_scope)
    for scope, some in groupby(wanted_here, _scope):
        if netns.is_namespace(scope):
            with netns.inside(scope):
                found |= {each.key: sysctl.read(each.setting) for each in some}
    return found


def _scope(setting: Setting) -> str:
    return setting.scope
