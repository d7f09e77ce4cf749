"""Commands inside of a lab's places."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence

from ltk.errors import MissingError
from ltk.kernel import netns
from ltk.reconcile.resources import scope_of

PATIENCE = 2.0  # seconds between the polite and the other signal


def command_in(topology: str, place: str, words: Sequence[str]) -> list[str]:
    """The command `words` for the network namespace of `place`; the process is the command's own."""
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise MissingError(
            f"running {words[0]} in {place}", "there is no nsenter", hint="apt-get install util-linux"
        )
    return [nsenter, f"--net={netns.path(scope_of(topology, place))}", *words]


def end_group(process: subprocess.Popen[str]) -> None:
    """End what is left of the process group that `process` began; it has been waited for afterwards."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    _signal_group(process, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
