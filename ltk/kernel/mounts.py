"""Folders that are mounted on themselves, so that nobody can write into them (mount(2), MS_BIND)."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path

from ltk.errors import LtkError, MissingError

MS_RDONLY, MS_REMOUNT, MS_BIND = 0x1, 0x20, 0x1000
MNT_DETACH = 0x2
MOST = 16  # mounts that lie on each other at one place; nobody makes as many

_MOUNTS = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5): the fifth word of a line is the place
_ESCAPED = re.compile(r"\\([0-7]{3})")  # octal, of blanks and the like
_libc = ctypes.CDLL(None, use_errno=True)


def make_read_only(folder: Path) -> None:
    """Let nobody write into `folder` until `release`. Raises LtkError, with nothing done."""
    doing = f"making {folder} read-only"
    place = os.fsencode(folder)
    _call("mount", doing, place, place, b"none", MS_BIND, None)
    try:
        _call("mount", doing, b"none", place, b"none", MS_BIND | MS_REMOUNT | MS_RDONLY, None)
    except LtkError:
        release(folder)
        raise


def release(folder: Path) -> None:
    """Take away what is mounted at `folder`, itself made so by a run that was killed halfway or not."""
    for _ in range(MOST):
        if folder not in places():
            return
        _call("umount2", f"making {folder} writable again", os.fsencode(folder), MNT_DETACH)


def places() -> set[Path]:
    """Where anything is mounted."""
    words = (line.split(" ", 5)[4] for line in _MOUNTS.read_text().splitlines())
    return {Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), word)) for word in words}


def _call(name: str, doing: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        if code == errno.EPERM:
            raise MissingError(doing, os.strerror(code), hint="Run it as root (CAP_SYS_ADMIN).")
        raise LtkError(doing, os.strerror(code))
