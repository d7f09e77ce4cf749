"""The text of a topology file, before anybody has looked into it. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ltk.errors import InvalidInputError

STANDARD_INPUT: Final = "-"
PLAN_MARK: Final = "ltk_plan"  # the first key of a saved plan, by which it is told from a topology
MAX_FILE = 4 * 1024 * 1024  # bytes of a topology; one of 1000 nodes, each spelt out, has a tenth of it
MAX_READ = 8 * MAX_FILE  # bytes of any text; a saved plan of 1000 sites has a quarter of it


@dataclass(frozen=True, slots=True)
class Text:
    """At most MAX_READ + 1 bytes of a file, which messages call `file`; relative paths are from `folder`."""

    data: bytes
    file: str
    folder: Path


def read_text(path: str) -> Text:
    """Read the file `path`; "-" is standard input. Raises InvalidInputError where there is none to read."""
    if path == STANDARD_INPUT:
        return Text(sys.stdin.buffer.read(MAX_READ + 1), "<stdin>", Path.cwd())
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_READ + 1)
    except FileNotFoundError:
        hint = "A topology is a YAML file; - is standard input."
        raise InvalidInputError(f"reading {path}", "there is no such file", hint=hint) from None
    except IsADirectoryError:
        hint = f"name the file in it, such as {file / 'topology.yaml'}"
        raise InvalidInputError(f"reading {path}", "this is a folder, not a file", hint=hint) from None
    except (OSError, ValueError) as error:
        from ltk.topology.values import quote  # only now: it comes with much that nobody needs for reading

        problem = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InvalidInputError(f"reading {quote(path)}", problem) from None
    return Text(data, path, file.absolute().parent)
