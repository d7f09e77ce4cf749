"""`python -m ltk.supervise TOPOLOGY`: become the supervisor of a topology, detached from the caller."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import math
import os
import re
import resource
import signal
import sys
from pathlib import Path

from ltk.errors import BusyError, InvalidInputError, LtkError
from ltk.kernel import paths
from ltk.node.log import say

USAGE = "usage: python -m ltk.supervise TOPOLOGY [--ready PIPE TURN]; ltk apply starts it"
DESCRIPTORS = (
    1 << 16
)  # not all that the kernel has: programs inherit the limit, and some close them one by one
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


def main() -> int:
    """Detach and supervise; the caller's process ends at once. Returns the exit status."""
    ready, turn = -1, -1
    match sys.argv[1:]:
        case [topology]:
            pass
        case [topology, "--ready", pipe, folder] if pipe.isdigit() and folder.isdigit():
            ready, turn = int(pipe), int(folder)
        case _:
            sys.stderr.write(USAGE + "\n")
            return InvalidInputError.exit_status
    if not NAME.fullmatch(topology):
        sys.stderr.write(f"{topology!r} is no name of a topology\n{USAGE}\n")
        return InvalidInputError.exit_status
    paths.make_private_folder(paths.run_folder(topology))
    if os.fork():
        return 0
    _detach(paths.supervisor_log(topology))
    try:
        _supervise(topology, ready, turn)
    except LtkError as error:
        say("error", str(error))
        return error.exit_status
    return 0


def _supervise(topology: str, ready: int, turn: int) -> None:
    """Tell the pipe `ready` when this listens, and close `turn`, with which nobody else starts another."""
    # Imported before the first fork, so that the daemons share the pages; and after the caller was let go.
    from ltk.node import lean

    lean.without_ifma()
    from ltk.node.prepare import prepare
    from ltk.supervise.client import READY_DEADLINE
    from ltk.supervise.supervisor import Supervisor

    signal.alarm(math.ceil(READY_DEADLINE))  # others wait for their turn
    _allow_descriptors()
    path = paths.supervisor_lock(topology)
    lock = _lock(path, f"supervising {topology}")
    supervisor = Supervisor(topology, lock)
    prepare()
    gc.collect()
    gc.freeze()  # the collector would write into every shared page once
    say("info", f"the supervisor of {topology} runs as process {os.getpid()}")
    signal.alarm(0)
    if ready >= 0:
        with contextlib.suppress(BrokenPipeError):  # who started it was killed; the next who comes finds it
            os.write(ready, b"ready")
        os.close(ready)
    if turn >= 0:
        os.close(turn)
    supervisor.run(before_the_end=path.unlink)
    os.close(lock)


def _allow_descriptors() -> None:
    """Have room for a large lab, as far as this process may: two for each daemon, and two for each wire."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if usual < min(most, DESCRIPTORS):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, DESCRIPTORS), most))


def _lock(path: Path, doing: str) -> int:
    """Lock the file `path` for this process's life; raises BusyError when another one has."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise BusyError(doing, "another process does") from None
        if path.exists() and os.path.samestat(path.stat(), os.fstat(lock)):
            return lock
        os.close(lock)  # its holder was ending and has taken the file away


def _detach(log: Path) -> None:
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(output)


if __name__ == "__main__":
    sys.exit(main())
