"""Times on the command line: 30s, 5m, 1h."""

from __future__ import annotations

import re

from ltk.errors import InvalidInputError

SECONDS = {"s": 1, "m": 60, "h": 3600}  # by unit
LONGEST = 24 * 3600  # seconds

_TIME = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh])")


def seconds_of(text: str, option: str, doing: str) -> float:
    """The seconds in a time from 1s to 24h; raises InvalidInputError that names the option."""
    found = _TIME.fullmatch(text)
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if not 1 <= seconds <= LONGEST:
        problem = f"{option}: {text!r} is no time from 1s to 24h"
        raise InvalidInputError(doing, problem, hint="Such as 60s, 5m or 1h.")
    return seconds
