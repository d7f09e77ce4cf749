"""`python -m ltk.rootless FILE FD`: become the keeper of a user's place, detached from the caller."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ltk.errors import InvalidInputError
from ltk.rootless.keeper import keep

USAGE = "usage: python -m ltk.rootless FILE FD"


def main() -> int:
    """Detach and keep; the caller's process ends at once. Returns the exit status."""
    match sys.argv[1:]:
        case [file, number] if number.isdigit():
            if os.fork() == 0:
                keep(Path(file), int(number))
            return 0
    sys.stderr.write(USAGE + "\n")
    return InvalidInputError.exit_status


if __name__ == "__main__":
    sys.exit(main())
