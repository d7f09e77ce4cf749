"""On what and with what it was measured."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import cryptography
from cryptography.hazmat.backends.openssl import backend

from ltk.errors import MissingError

REPOSITORY = Path(__file__).parents[2]
COMMON = {"ip": "iproute2", "ss": "iproute2", "ping": "iputils-ping", "iperf3": "iperf3", "nft": "nftables"}


def describe() -> dict[str, str]:
    """The machine and the versions that all tools share."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "when": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": cpu,
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cryptography": f"{cryptography.__version__}, {backend.openssl_version_text()}",
        "iperf3": version_of("iperf3", "--version"),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def version_of(*words: str) -> str:
    """The first number that a command prints, or "?"; some say it to standard error, or with a status."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
    found = re.search(r"(?<!\w)v?\.?(\d[\w.+-]*)", done.stdout + done.stderr)
    return found[1] if found else "?"


def need(programs: dict[str, str]) -> None:
    """Have programs installed where they are missing; raises MissingError where that does not help.

    What can be asked of this machine's package manager is `ci/install`'s to know.
    """
    missing = [f"{program}:{package}" for program, package in programs.items() if not shutil.which(program)]
    if not missing:
        return
    done = subprocess.run(
        [str(REPOSITORY / "ci" / "install"), "--packages-only", *missing],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    still = sorted({package for program, package in programs.items() if not shutil.which(program)})
    if still:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise MissingError(f"installing {', '.join(still)}", f"ci/install said: {said[0]}")
