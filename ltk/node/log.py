"""What a process says about itself: one line an event on standard error, `time level message`.

The time is UTC to the millisecond. No line ever holds a secret.
"""

from __future__ import annotations

import contextlib
import sys
import time
from functools import lru_cache
from typing import Literal

Level = Literal["info", "warning", "error"]


def say(level: Level, message: str) -> None:
    """Write one line. A full disk or a closed descriptor is no reason to end, so it is let pass."""
    now = time.time()
    line = f"{_second(int(now))}.{int(now * 1000) % 1000:03d}Z {level} {message}".replace("\n", " ")
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@lru_cache(maxsize=1)
def _second(unix: int) -> str:
    """A daemon of a large network says a hundred things in its first one."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix))
