"""The places of ordinary users, broken: they stay, they leave processes behind, and they trust anybody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ltk.testing.breaking import mutant, replace

if TYPE_CHECKING:
    from ltk.rootless.place import Place


@mutant("place-never-ends")
def _place_never_ends() -> None:
    """The keeper stays when nothing is up any more."""
    from ltk.rootless.place import Place

    def stay(_: Place) -> None:
        return

    replace(Place, "leave", stay)


@mutant("place-leaves-orphans")
def _place_leaves_orphans() -> None:
    """What has survived a killed keeper goes on, where nobody can see it."""
    from ltk.rootless import place

    def leave_them(_: bytes) -> None:
        return

    replace(place, "_end_what_is_left", leave_them)


@mutant("place-in-anybodys-folder")
def _place_in_anybodys_folder() -> None:
    """The folder in which the keeper is found may be one that others write to."""
    from ltk.rootless import place

    def look_only(_: Path, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    replace(place, "_required_private", look_only)
