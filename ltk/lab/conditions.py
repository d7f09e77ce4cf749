"""Link conditions: which cable a site's link asks for, and how the process that makes one is told.

A link with conditions is a user-space wire on every kernel: two TAP devices, and a process that
holds each frame back or drops it (`ltk.lab.wire`). Without the key `link` it is a plain veth pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from ltk.errors import InvalidInputError
from ltk.reconcile.resources import Conditions, End, Veth, Wire
from ltk.topology.expanded import Link

VERSION = 2  # of the document that the process reads


@dataclass(frozen=True, slots=True, order=True)
class Tap:
    """A TAP device by its place."""

    scope: str
    device: str


@dataclass(frozen=True, slots=True)
class Span:
    """One wire as its process knows it: from which device to which, and under which conditions."""

    a: Tap
    b: Tap
    conditions: Conditions

    @property
    def ends(self) -> tuple[Tap, Tap]:
        """The identity of the wire."""
        return (self.a, self.b)

    def __str__(self) -> str:
        return f"the wire {self.a.device}@{self.a.scope} - {self.b.device}@{self.b.scope}"


def cable(inner: End, outer: End, link: Link | None) -> Veth | Wire:
    """The cable between two places, of the kind that its link asks for."""
    if link is None:
        return Veth(inner, outer)
    stated = {each.name: getattr(link, each.name) for each in fields(Conditions)}
    return Wire(inner, outer, Conditions(**stated))


def span_of(wire: Wire) -> Span:
    """What the process is told about a wire; where nobody knows its conditions it gets none."""
    a, b = (Tap(end.scope, end.device) for end in (wire.a, wire.b))
    return Span(a, b, wire.conditions or Conditions())


def to_json(spans: Iterable[Span]) -> dict[str, Any]:
    """The document that the process of the wires reads."""
    return {"version": VERSION, "wires": [asdict(span) for span in spans]}


def from_json(value: object, doing: str) -> tuple[Span, ...]:
    """The inverse of `to_json`; raises InvalidInputError for anything else."""
    match value:
        case {"version": version, "wires": list(wires)} if version == VERSION:
            return tuple(_span(wire, doing) for wire in wires)
    raise InvalidInputError(doing, f"it is no document of wires of version {VERSION}")


def _span(value: object, doing: str) -> Span:
    match value:
        case {
            "a": {"scope": str(a_scope), "device": str(a_device)},
            "b": {"scope": str(b_scope), "device": str(b_device)},
            "conditions": dict(stated),
        } if stated.keys() == _NUMBERS and all(type(number) is int for number in stated.values()):
            return Span(Tap(a_scope, a_device), Tap(b_scope, b_device), Conditions(**stated))
    raise InvalidInputError(doing, "one of its wires lacks an end, a condition or a number")


_NUMBERS = {each.name for each in fields(Conditions)}
