"""Files that are replaced whole."""

from __future__ import annotations

import os
from pathlib import Path

from ltk.errors import LtkError


def write_private(path: Path, text: str) -> None:
    """Replace a file whole or not at all; nobody but its owner can read it at any moment."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        raise LtkError(f"writing {path}", str(error.strerror)) from error
