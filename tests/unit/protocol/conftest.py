"""Published test vectors, and the simulated networks that most tests start from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig import World

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Load a file of published vectors; skip where they are not on this machine."""
    folder = Path(os.environ.get("LTK_VECTORS", REPOSITORY.parent / "shared" / "vectors"))

    def load(name: str) -> Any:
        path = folder / name
        if not path.exists():
            pytest.skip(f"published vectors {name} are not in {folder} (set LTK_VECTORS to their folder)")
        return json.loads(path.read_text())

    return load


@pytest.fixture
def world() -> World:
    return World(seed=1)
