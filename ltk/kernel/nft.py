"""nftables through the `nft` program: rule sets go in as its language and come out as its JSON.

Several namespaces are served side by side, since the kernel's commit dominates the cost.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from ltk.errors import LtkError, MissingError
from ltk.kernel import netns

DEADLINE = 30.0  # seconds for one call of nft; a commit takes about 15 ms
NO_SUCH_FILE = "No such file or directory"

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
    global writes
    running = {scope: _start(scope, ["-f", "-"]) for scope in rulesets}
    failures = []
    for scope, process in running.items():
        _, errors = process.communicate(rulesets[scope], timeout=DEADLINE)
        writes += 1
        if process.returncode != 0:
            failures.append(LtkError(f"loading the rules of {scope}", _first_line(errors)))
    if failures:
        raise failures[0]


def tables(scopes: Sequence[str], family: str, table: str) -> dict[str, list[dict[str, Any]]]:
    """nft's JSON objects of one table in each of the namespaces that has it; of sets no contents."""
    running = {scope: _start(scope, ["-j", "-t", "list", "table", family, table]) for scope in scopes}
    found = {}
    for scope, process in running.items():
        output, errors = process.communicate(timeout=DEADLINE)
        if process.returncode == 0:
            found[scope] = json.loads(output)["nftables"]
        elif NO_SUCH_FILE not in errors:
            raise LtkError(f"reading the rules of {scope}", _first_line(errors))
    return found


def _start(scope: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    with netns.inside(scope):
        return subprocess.Popen([program(), *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "nft failed without a word")
