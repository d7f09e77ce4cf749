"""How many messages programs send to the kernel by netlink, themselves and by all that they start.

They run under strace, which shows each message: those that change something as those that only ask. It slows
them down, so that nothing that is timed runs so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import labs
import machine
import mininet_side
from places import lone_place, stop, wait_for

from ltk.errors import LtkError, MissingError

STRACE = ("strace", "-f", "-qq", "--seccomp-bpf", "-v", "-s", "0", "-e", "trace=sendto,sendmsg")
MESSAGE = "nlmsg_type="  # how strace shows the header of each
KEEPS_ITS_STATUS = '"$@" >"$0.said" 2>&1; echo $? >"$0.status"'  # for sh; $0 is the trace


def measure(size: int, folder: Path) -> dict[str, float]:
    """Messages for each step in the life of a lab of so many sites, and of so many hosts without tunnels.

    Without mininet its values are left out. Raises MissingError without strace, and LtkError where a command
    fails.
    """
    machine.need({"strace": "strace"})
    file = folder / f"messages-{size}.yaml"
    with _ltk(folder) as sent_by, labs.destroyed(file, labs.topology(f"bench-{size}", size)):
        values = {"apply": sent_by("apply", file), "apply_again": sent_by("apply", file)}
        file.write_text(labs.topology(f"bench-{size}", size, keepalive=15))
        values |= {"change_one": sent_by("apply", file), "destroy": sent_by("destroy", file)}
    file = folder / f"messages-bare-{size}.yaml"
    with _ltk(folder) as sent_by, labs.destroyed(file, mininet_side.topology(size)):
        values |= {"ltk_up": sent_by("apply", file), "ltk_down": sent_by("destroy", file)}
    try:
        machine.need(mininet_side.PROGRAMS)
    except MissingError as error:
        print(f"bench: mininet is absent: {error.problem}", file=sys.stderr)
        return values
    return values | _of_mininet(size, folder)


class _Traced:
    """Commands of ltk's under strace. What they leave running is traced for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def __call__(self, verb: str, file: Path) -> int:
        """Run one; returns the messages that had been sent when it ended."""
        trace = self._folder / f"{file.stem}-{len(self.running)}"
        command = (sys.executable, "-m", "ltk", verb, str(file))
        shell = ("sh", "-c", KEEPS_ITS_STATUS, str(trace), *command)
        self.running.append(subprocess.Popen([*STRACE, "-o", str(trace), *shell], stdin=subprocess.DEVNULL))
        kept = Path(f"{trace}.status")
        wait_for(lambda: kept.exists() and kept.read_text().endswith("\n"), f"ltk {verb}", labs.TIME_LIMIT)
        if (status := kept.read_text().strip()) != "0":
            said = Path(f"{trace}.said").read_text()
            raise LtkError(f"running ltk {verb}", f"status {status}: {said.strip()[-500:]}")
        return _messages(trace)


@contextmanager
def _ltk(folder: Path) -> Iterator[_Traced]:
    """What runs ltk and counts. At the end all that it has started has to have ended."""
    traced = _Traced(folder)
    try:
        yield traced
        for process in traced.running:
            process.wait(labs.TIME_LIMIT)
    finally:
        for process in traced.running:
            stop(process)


def _of_mininet(hosts: int, folder: Path) -> dict[str, float]:
    trace = folder / f"mininet-{hosts}"
    around: Sequence[str] = (*STRACE, "-o", str(trace))
    with lone_place("mininet") as place, mininet_side.up(place, hosts, folder, around) as down:
        up = _messages(trace)
        down()
    return {"mininet_up": up, "mininet_down": _messages(trace) - up}


def _messages(trace: Path) -> int:
    with trace.open(errors="replace") as lines:
        return sum(line.count(MESSAGE) for line in lines)
