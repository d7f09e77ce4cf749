"""Resources as JSON, and back: what a journal has to say about what was there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from ipaddress import ip_interface, ip_network
from typing import Any

from ltk.reconcile.resources import (
    Address,
    Bridge,
    Conditions,
    Daemon,
    End,
    Namespace,
    OwnSetting,
    Program,
    Resource,
    Route,
    Rule,
    Ruleset,
    Secret,
    Setting,
    Stray,
    Tun,
    Veth,
    Wire,
)

_TYPES: dict[str, type[Resource]] = {
    each.kind: each
    for each in (
        Namespace,
        Setting,
        OwnSetting,
        Stray,
        Bridge,
        Veth,
        Wire,
        Tun,
        Address,
        Route,
        Rule,
        Ruleset,
        Secret,
        Daemon,
        Program,
    )
}
# Fields whose JSON is not their value, by their names, which mean the same wherever they stand.
_READERS: dict[str, Callable[[Any], Any]] = {
    "a": lambda value: End(**value),
    "b": lambda value: End(**value),
    "conditions": lambda value: None if value is None else Conditions(**value),
    "interface": ip_interface,
    "destination": ip_network,
}


def to_json(resource: Resource) -> dict[str, Any]:
    """What `from_json` reads back. Of a secret its value is part: it is for files of their owner's alone."""
    assert is_dataclass(resource)
    return {
        "kind": resource.kind,
        **{each.name: _plain(getattr(resource, each.name)) for each in fields(resource)},
    }


def from_json(value: Mapping[str, Any]) -> Resource:
    """Read back what `to_json` made; raises ValueError, KeyError or TypeError for anything else."""
    kind = _TYPES[value["kind"]]
    given = {name: _READERS.get(name, _same)(each) for name, each in value.items() if name != "kind"}
    if kind is Ruleset:
        given["fingerprint"] = tuple(given["fingerprint"])
    return kind(**given)


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str() | dict():
            return value
        case tuple():
            return list(value)
        case End() | Conditions():
            return asdict(value)
        case _:
            return str(value)  # an interface or a network


def _same(value: Any) -> Any:
    return value
