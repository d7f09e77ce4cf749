"""`python -m ltk.confirm TOPOLOGY PROCESS READY`: guard what a run changes."""

from __future__ import annotations

import sys

from ltk.confirm.guard import run
from ltk.errors import InvalidInputError


def main() -> int:
    """Guard; returns the exit status."""
    match sys.argv[1:]:
        case [topology, process, ready] if process.isdigit() and ready.isdigit():
            return run(topology, int(process), int(ready))
    sys.stderr.write("usage: python -m ltk.confirm TOPOLOGY PROCESS READY; ltk apply --confirm starts it\n")
    return InvalidInputError.exit_status


if __name__ == "__main__":
    sys.exit(main())
