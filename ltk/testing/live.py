"""What is to be looked at when a test fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltk.testing.lab import Lab

LABS: list[Lab] = []  # those of this process that are up
KEPT: dict[str, Path] = {}  # by name, what was kept of those that an error has taken down
