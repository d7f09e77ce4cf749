"""Minds one program of a lab: starts its shell command, and has it end when it is told to.

A shell command is often several processes. They and their minder are one process group, which goes as a
whole, however the minder has ended: the supervisor sees to that (`end_group`) before it starts another, so
that what is started again finds its ports free.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess

from ltk.errors import LtkError
from ltk.node.log import say
from ltk.node.notify import READY, Notifier

PATIENCE = 2.0  # seconds between the polite and the other signal; less than the supervisor's own
PR_SET_PDEATHSIG = 1  # linux/prctl.h
HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}  # blocked, and waited for: none comes at a bad time

_libc = ctypes.CDLL(None, use_errno=True)


def mind(command: str, folder: str, notifier: Notifier) -> None:
    """Run `command` by /bin/sh in `folder` until it ends, or until SIGTERM.

    For a process with one thread, whose parent calls `end_group` when it has ended. Raises LtkError where
    the command cannot be started, or has ended by itself with another status than 0.
    """
    doing = f"running {command!r}"
    parent = os.getppid()
    os.setpgid(0, 0)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    shell = _start(command, folder, doing, before)
    notifier.tell(READY)
    told = False
    while not told and shell.poll() is None:
        told = signal.sigwait(HEARD) is not signal.SIGCHLD
    if told:
        _ask_to_end(shell)
        if os.getppid() != parent:  # nobody is left to end the group
            os.killpg(0, signal.SIGKILL)
        return
    status = shell.returncode
    if status != 0:
        raise LtkError(doing, f"it ended {f'by signal {-status}' if status < 0 else f'with status {status}'}")
    say("info", f"{command!r} has ended")


def end_group(leader: int) -> None:
    """Kill what is left of the group of a minder that has ended and has not been waited for yet."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _start(command: str, folder: str, doing: str, mask: set[int | signal.Signals]) -> subprocess.Popen[bytes]:
    def in_the_child() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            preexec_fn=in_the_child,
        )
    except OSError as error:
        raise LtkError(doing, f"{error.filename}: {error.strerror}") from None


def _ask_to_end(shell: subprocess.Popen[bytes]) -> None:
    os.killpg(0, signal.SIGTERM)  # this process has it blocked
    try:
        shell.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        say("warning", f"process {shell.pid} did not end within {PATIENCE:g} s of SIGTERM")
