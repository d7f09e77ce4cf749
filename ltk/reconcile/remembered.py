"""What a text expanded to when it was applied: a verb that gets the same text again need not check it.

Checking a file takes half a second, most of it for libraries that do nothing else. What is kept beside a
topology that is up is only ever used for the very bytes that it came from, and for the very ltk that made
it; anything else, a broken file included, is as if there were nothing.
"""

from __future__ import annotations

import contextlib
import json
from functools import lru_cache
from hashlib import blake2s
from pathlib import Path

import ltk.topology
from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.reconcile.files import write_private
from ltk.reconcile.here import node_of
from ltk.topology.expanded import Topology
from ltk.topology.stored import from_json, to_json
from ltk.topology.text import Text, read_text


def recall(text: Text) -> Topology | None:
    """The topology that `text` expands to, if it is what somebody applied and is still up."""
    if not paths.RUN.is_dir():
        return None
    wanted = _digest(text)
    for folder in paths.RUN.iterdir():
        try:
            of, topology = _read(paths.expanded(folder.name).read_text())
            if wanted in of:
                return topology
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def last_applied(topology: str) -> Topology | None:
    """The topology of that name as it was applied last; None where no file says so, or none that is valid."""
    path = paths.applied(topology)
    if not path.exists():  # it may be deleted at any time
        return None
    try:
        text = read_text(str(path))
        if (known := recall(text)) is not None:
            return known
        from ltk.topology.load import parse_topology  # only now: it takes longer than all the rest

        here = node_of(topology)
        return parse_topology(
            text.data, file=text.file, folder=text.folder, choose_here=lambda _name, _has_lab: here
        )
    except LtkError:
        return None


def remember(text: Text, topology: Topology) -> None:
    """Keep what `text` expanded to, for it and for the file that stands for the topology's name."""
    path = paths.expanded(topology.name)
    try:
        of = [_digest(text), _digest(read_text(str(paths.applied(topology.name))))]
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if _read(path.read_text())[0] == of:
                return
        write_private(path, json.dumps({"of": of, "topology": to_json(topology)}) + "\n")
    except LtkError:
        return  # there is nothing that would be wrong without it


@lru_cache(maxsize=4)
def _read(content: str) -> tuple[list[str], Topology]:
    """Of which texts it is the topology, and the topology; raises as of `from_json`."""
    kept = json.loads(content)
    return kept["of"], from_json(kept["topology"])


def _digest(text: Text) -> str:
    """A hash of all that decides what a text expands to: its bytes, where it stands, and ltk's own files."""
    digest = blake2s(text.data)
    digest.update(f"\0{text.folder}".encode())
    for source in sorted(Path(ltk.topology.__path__[0]).glob("*.py")):
        state = source.stat()
        digest.update(f"\0{source.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()
