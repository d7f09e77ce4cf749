"""For tests: labs as fixtures of pytest (`plugin`, `Lab`, `Topology`), and ltk broken on purpose (`mutants`).

pytest imports this in every run on a machine that has ltk, whether the run has a lab or not: nothing is
imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltk.testing.builder import Topology
    from ltk.testing.lab import Lab

__all__ = ["Lab", "Topology"]


def __getattr__(name: str) -> object:
    match name:
        case "Lab":
            from ltk.testing.lab import Lab

            return Lab
        case "Topology":
            from ltk.testing.builder import Topology

            return Topology
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
