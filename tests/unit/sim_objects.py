"""What an engine holds: for tests of memory that must not grow, and of keys that must not be there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType


def reachable(root: object) -> Iterator[object]:
    """Yield everything that `root` holds, once each, without following classes, modules and globals.

    What a closure or a bound method holds is followed.
    """
    seen = {id(root)}
    stack = [root]
    while stack:
        value = stack.pop()
        yield value
        if isinstance(value, FunctionType):
            referents: list[object] = [value.__closure__, value.__defaults__]
        elif isinstance(value, BuiltinFunctionType):
            referents = [value.__self__]
        else:
            referents = gc.get_referents(value)
        for referent in referents:
            if id(referent) not in seen and not isinstance(referent, type | ModuleType):
                seen.add(id(referent))
                stack.append(referent)
