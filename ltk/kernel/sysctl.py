"""Settings below /proc/sys/net, of the namespace in which the calling thread stands."""

from __future__ import annotations

import os
from pathlib import Path

from ltk.errors import LtkError, MissingError

ROOT = Path("/proc/sys")
LONGEST = 4096  # bytes of a setting; the kernel's own buffer for most of them

writes = 0
"""Settings written by this process."""


def path(key: str) -> Path:
    """The file of a setting, which is named as `sysctl` names it: net.ipv4.ip_forward."""
    return ROOT / key.replace(".", "/")


def read(key: str) -> str | None:
    """The setting's value; None where this kernel does not have it."""
    # thousands are read in one look at a large lab: a Path and a text file each would take most of its time
    try:
        descriptor = os.open(f"{ROOT}/{key.replace('.', '/')}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, LONGEST).decode().strip()
    finally:
        os.close(descriptor)


def write(key: str, value: str) -> None:
    """Set it; MissingError where this kernel does not have it or does not let us."""
    global writes
    doing = f"setting {key} = {value}"
    try:
        path(key).write_text(value)
    except FileNotFoundError as error:
        raise MissingError(doing, "this kernel does not have it") from error
    except PermissionError as error:
        raise MissingError(doing, str(error.strerror), hint="Run it as root.") from error
    except OSError as error:
        raise LtkError(doing, str(error.strerror)) from error
    writes += 1
