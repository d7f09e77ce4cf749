"""Starting the guard of a change, before the first of its operations."""

from __future__ import annotations

import os
import select
import subprocess
import sys

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.supervise.client import tail

READY_DEADLINE = 10.0  # seconds for the guard to watch


def start_guard(topology: str) -> subprocess.Popen[bytes]:
    """Start a guard of what this process is about to change; returns when it watches over that.

    It outlives this process, its shell and its terminal. Its exit status, for whoever waits for it: 0 where
    the change stands, 5 where it was undone, 1 where it could not be. Raises LtkError where none comes up.
    """
    pipe, log = paths.guard_pipe(topology), paths.guard_log(topology)
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe, 0o600)
    ours, theirs = os.pipe()
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        begin = output.tell()
        guard = _spawn([topology, str(os.getpid()), str(theirs)], output.fileno(), theirs)
    os.close(theirs)
    try:
        watcher = select.poll()
        watcher.register(ours, select.POLLIN)
        said = os.read(ours, 16) if watcher.poll(READY_DEADLINE * 1000) else None
    finally:
        os.close(ours)
    if not said:
        guard.kill()
        guard.wait()
        problem = f"it was not ready within {READY_DEADLINE:g} s" if said is None else tail(log, begin)
        raise LtkError(f"starting the guard of {topology}", problem, hint="Nothing was changed.")
    return guard


def _spawn(arguments: list[str], log: int, ready: int) -> subprocess.Popen[bytes]:
    """Run the guard in a session of its own, so that no terminal's end is its end too."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ltk.confirm", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        pass_fds=(ready,),
        start_new_session=True,
    )
