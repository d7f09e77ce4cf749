#!/usr/bin/env python3
"""`systemctl` for machines of the tests, which no systemd runs on: does what units say, and no more.

Enabled is what has a link in the folder of the target, as with systemd. Started is a unit by its
`ExecStartPre` and its `ExecStart`, in this order; it is up when it has said READY=1 (sd_notify(3)).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

UNITS = Path("/etc/systemd/system")
WANTS = UNITS / "multi-user.target.wants"
PROCESSES = Path("/run/played")
READY_LIMIT = 20.0  # seconds


def commands(name: str, key: str) -> list[tuple[str, list[str]]]:
    """(prefix, words) of each command of a template's instance."""
    template, _, rest = name.partition("@")
    instance = rest.removesuffix(".service")
    text = (UNITS / f"{template}@.service").read_text().replace("%i", instance).replace("%%", "%")
    lines = re.findall(rf"^{key}=([-+@:!]*)(.*)$", text, re.MULTILINE)
    return [(prefix, shlex.split(line)) for prefix, line in lines]


def start(name: str) -> None:
    """Run what the unit says; returns when it is ready, and ends with an error where it is not."""
    stop(name)
    for prefix, words in commands(name, "ExecStartPre"):
        subprocess.run(words, check="-" not in prefix, cwd="/")
    PROCESSES.mkdir(exist_ok=True)
    address = str(PROCESSES / f"{name}.notify")
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(READY_LIMIT)
        ((_, words),) = commands(name, "ExecStart")
        with (PROCESSES / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                cwd="/",
                env=os.environ | {"NOTIFY_SOCKET": address},
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        (PROCESSES / f"{name}.pid").write_text(str(process.pid))
        while b"READY=1" not in listener.recv(4096):
            pass


def stop(name: str) -> None:
    """End the unit's process, if it runs."""
    file = PROCESSES / f"{name}.pid"
    if file.is_file():
        try:
            held = os.pidfd_open(int(file.read_text()))
        except ProcessLookupError:
            return
        signal.pidfd_send_signal(held, signal.SIGTERM)
        subprocess.run(["tail", "--pid", file.read_text(), "-f", "/dev/null"], timeout=20, check=True)
        file.unlink()


def main(words: list[str]) -> None:
    match [word for word in words if word not in ("--quiet", "--no-ask-password")]:
        case ["daemon-reload"]:
            pass
        case ["enable", name]:
            WANTS.mkdir(exist_ok=True)
            link = WANTS / name
            link.unlink(missing_ok=True)
            link.symlink_to(UNITS / f"{name.partition('@')[0]}@.service")
        case ["restart", name]:
            start(name)
        case ["disable", "--now", name]:
            stop(name)
            (WANTS / name).unlink(missing_ok=True)
            if WANTS.is_dir() and not list(WANTS.iterdir()):
                WANTS.rmdir()
        case ["default"]:  # what a boot comes to
            for each in sorted(WANTS.iterdir()):
                start(each.name)
        case _:
            sys.exit(f"systemctl {' '.join(words)}: not played")


if __name__ == "__main__":
    main(sys.argv[1:])
