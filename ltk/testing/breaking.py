"""How a class is broken: its methods replaced by variants, each breakage under its name."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

MUTANTS: dict[str, Callable[[], None]] = {}  # what breaks this process, by the mutant's name


def mutant(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what breaks this process as the mutant `name` does."""

    def register(breaks: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[name] = breaks
        return breaks

    return register


def replace(owner: type | ModuleType, method: str, variant: Callable[..., object] | property) -> None:
    """Put `variant` in the place of a method of a class, or a function of a module, which must have it."""
    if method not in vars(owner):  # renamed since: setting it would break nothing, and prove nothing
        raise AttributeError(f"{owner.__name__} has no method {method} of its own to replace")
    setattr(owner, method, variant)
