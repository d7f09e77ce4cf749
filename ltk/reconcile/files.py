"""Files that are replaced whole."""

from __future__ import annotations

import errno
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
        raise LtkError(f"writing {path}", str(error.strerror), hint=hint_for(error)) from error


def remove_file(path: Path) -> None:
    """Remove a file that may have gone already."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise LtkError(f"removing {path}", str(error.strerror), hint=hint_for(error)) from error


def hint_for(error: OSError) -> str | None:
    """What to do where a disk takes nothing."""
    match error.errno:
        case errno.EROFS:
            return "The disk is mounted read-only: make it writable, then run this again."
        case errno.ENOSPC | errno.EDQUOT:
            return "The disk is full: make room, then run this again."
    return None


def in_words(error: OSError) -> LtkError:
    """What the kernel said where nobody expected it; mostly it is a disk that takes nothing."""
    doing = f"using {error.filename}" if error.filename else "reading or writing"
    return LtkError(doing, error.strerror or str(error), hint=hint_for(error))
