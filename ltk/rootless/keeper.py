"""The keeper: the process that makes an ordinary user's place, and keeps it by being in it."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
from pathlib import Path

from ltk.errors import LtkError, MissingError
from ltk.kernel import netns, paths, userns
from ltk.rootless.place import MARK


def keep(file: Path, ready: int) -> None:
    """Make the place, tell so on the descriptor `ready`, and stay until SIGTERM.

    `file` must not be there yet. What has stopped it is told on `ready` as well, in lines: "missing" or
    "failed", what was being done, the problem, and what to do.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # waited for below: none comes too early
    os.setsid()
    os.chdir("/")
    try:
        _make(file)
    except LtkError as error:
        kind = "missing" if isinstance(error, MissingError) else "failed"
        os.write(ready, "\n".join((kind, error.doing, error.problem, error.hint or "")).encode())
        return
    os.write(ready, b"ready")
    os.close(ready)
    signal.sigwait({signal.SIGTERM})


def _make(file: Path) -> None:
    """Make the place; the file is locked, and says its mark, as soon as there is anything to be found."""
    mark = secrets.token_hex(16)
    try:
        kept = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LtkError(f"making {file}", str(error.strerror)) from None
    fcntl.lockf(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(kept, mark.encode())
    userns.make()
    # of the machine's own labs, which are root's, nothing is to be seen
    userns.cover(str(netns.FOLDER.parent), netns.FOLDER.name, paths.RUN.name)
    userns.cover(str(paths.STATE.parent), paths.STATE.name)
    userns.show_own_devices()
    MARK.write_text(mark)
