"""nftables through the `nft` program: rule sets go in as its language (`nftables` reads what is there).

Several namespaces are served side by side, since the kernel's commit dominates the cost.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from ltk.errors import LtkError, MissingError
from ltk.kernel import netns

DEADLINE = 30.0  # seconds for one call of nft; a commit takes about 15 ms
AT_ONCE = 64  # processes of nft; each mostly waits for the kernel, and takes 5 MB while it does

writes = 0
"""Rule sets loaded by this process."""


def program() -> str:
    """The path of `nft`; MissingError where it is not installed."""
    found = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
    if found is None:
        raise MissingError(
            "looking for nft", "it is not installed", hint="Install it: apt-get install nftables"
        )
    return found


def load(rulesets: Mapping[str, str]) -> None:
    """Load one rule set (in nft's language, applied whole or not at all) in each namespace.

    Raises LtkError with nft's words for the first that is refused; the others are loaded nevertheless.
    """
    failures: list[LtkError] = []
    scopes = list(rulesets)
    for start in range(0, len(scopes), AT_ONCE):
        some = {scope: rulesets[scope] for scope in scopes[start : start + AT_ONCE]}
        failures += _load_side_by_side(some)
    if failures:
        raise failures[0]


def listed(scopes: Sequence[str], family: str, table: str) -> dict[str, str]:
    """The text of one table in each of the namespaces, with counts and contents, as `load` takes it.

    Raises LtkError with nft's words for the first that cannot be read.
    """
    found = {}
    for start in range(0, len(scopes), AT_ONCE):
        some = scopes[start : start + AT_ONCE]
        running = {scope: _start(scope, f"list table {family} {table}\n", subprocess.PIPE) for scope in some}
        said = {scope: _outcome(process) for scope, process in running.items()}
        for scope, (text, errors) in said.items():
            if running[scope].returncode != 0:
                raise LtkError(f"reading the rules of {scope}", _first_line(errors))
            found[scope] = text
    return found


def _load_side_by_side(rulesets: Mapping[str, str]) -> list[LtkError]:
    global writes
    failures = []
    running = {scope: _start(scope, text) for scope, text in rulesets.items()}
    for scope, process in running.items():
        _, errors = _outcome(process)
        writes += 1
        if process.returncode != 0:
            failures.append(LtkError(f"loading the rules of {scope}", _first_line(errors)))
    return failures


def _outcome(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What nft has printed, and what it has complained about, when it has ended."""
    try:
        return process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "", f"nft did not end within {DEADLINE:g} s"


def _start(scope: str, ruleset: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Start nft with the whole of its input there already, so that nobody has to feed it."""
    with os.fdopen(os.memfd_create("ruleset", os.MFD_CLOEXEC), "w+", encoding="utf-8") as file:
        file.write(ruleset)
        file.seek(0)
        with netns.inside(scope):
            return subprocess.Popen(
                [program(), "-f", "-"],
                stdin=file,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "nft failed without a word")
