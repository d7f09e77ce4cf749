"""The expanded topology as JSON, read back without YAML, the model and its checks.

The types of `ltk.topology.expanded` say how: their fields are walked, so that a new one needs nothing here.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Literal, Union

from ltk.topology.expanded import Address, Interface, Network, Topology

_EITHER_FAMILY: dict[object, Callable[[str], object]] = {
    Address: ip_address,
    Interface: ip_interface,
    Network: ip_network,
}
_PLAIN = (str, int, float, bool)


def to_json(topology: Topology) -> dict[str, Any]:
    """The JSON value that `from_json` reads back to an equal topology."""
    value: dict[str, Any] = _plain(topology)
    return value


def from_json(value: object) -> Topology:
    """Read back what `to_json` made; raises ValueError, KeyError or TypeError for anything else."""
    found = _reader(Topology)(value)
    if not isinstance(found, Topology):
        raise TypeError("not a topology")
    return found


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case None | str() | int() | float():
            return value
        case tuple():
            return [_plain(each) for each in value]
        case _ if is_dataclass(value):
            return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            return str(value)  # an address, an interface or a network


@functools.cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """What makes a value of the type `hint` from its JSON."""
    if hint in _EITHER_FAMILY:
        return _EITHER_FAMILY[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN or origin is Literal:
        return lambda value: value
    if origin is tuple:
        each_reader = _reader(arguments[0])
        return lambda value: tuple(map(each_reader, value))
    if origin in (Union, types.UnionType):
        present = [argument for argument in arguments if argument is not types.NoneType]
        reader = _reader(functools.reduce(operator.or_, present))
        return lambda value: None if value is None else reader(value)
    if is_dataclass(hint):
        return _dataclass_reader(hint)
    return typing.cast("Callable[[Any], Any]", hint)  # an enum, or an address of one family


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    readers = [(each.name, _reader(hints[each.name])) for each in fields(kind)]
    return lambda value: kind(**{name: read(value[name]) for name, read in readers})
