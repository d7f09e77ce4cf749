"""Every command that a document shows is run, and prints what the document shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import REPOSITORY, run_ltk

AS_A_USER = REPOSITORY / "docs" / "rootless.md"  # see test_rootless.py
DOCUMENTS = [
    path
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    if "```console" in path.read_text() and path != AS_A_USER
]
COMMAND_LIMIT = 60.0  # seconds
OMITTED = "..."  # a line that stands for any number of lines

# What differs from run to run, and what stands for it.
MEASURED = (
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{6}\b"), "TIME"),
    (re.compile(r"(?<=, )(id|seq|counter) \d+"), r"\1 #"),
    (re.compile(r"\b0x[0-9a-f]{8}\b"), "0x#"),  # a session's index
    (re.compile(r"\b[1-9]\d*(?= probes\b)"), "#"),
    (re.compile(r"(?<= of )\d+(?= packets: )"), "#"),
    (re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])"), "#"),  # a decimal, which an address is not
    (re.compile(r"(?<![\w.#])[\d#]+ (?:B|[KMG]iB)(?!\w)"), "# bytes"),
    (re.compile(r"\b\d+(?= ?(?:ms|s|created|removed)\b)"), "#"),
    (re.compile(r"packets [1-9]\d* bytes \d+"), "packets # bytes #"),  # none is another matter than some
    (re.compile(r'"(\w+_(?:s|ms|bytes|packets)|listen|netlink|nft|sysctl)": [\d.#]+'), r'"\1": #'),
    (re.compile(r"(?<=\.\d):\d{4,5}\b|(?<=\.\d\d):\d{4,5}\b"), ":#"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "KEY"),
    (re.compile(r"─+"), "─"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Example:
    """A command line of a document at `place`, and the output that is shown below it."""

    place: str
    command: str
    shown: list[str]


def examples_in(path: Path) -> list[Example]:
    """The commands of all console blocks of a document, in its order."""
    found: list[Example] = []
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        line = line.strip()
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Example(f"{path.name}:{number}", line[2:], []))
        elif inside:
            found[-1].shown.append(line)
    return found


def shape(line: str) -> str:
    """The line with everything that a clock, a counter or chance has put into it masked."""
    for pattern, word in MEASURED:
        line = pattern.sub(word, line)
    return line.strip()


def shapes(lines: list[str]) -> list[str]:
    return [shape(line) for line in lines if line.strip()]


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether `printed` is what is shown, where an OMITTED line stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == OMITTED:
        return any(matches(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and matches(shown[1:], printed[1:])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A folder as a reader sits in it: the topologies are there; whatever came up is destroyed."""
    shutil.copytree(REPOSITORY / "topologies", tmp_path / "topologies")
    yield tmp_path
    for topology in sorted((tmp_path / "topologies").glob("*.yaml")):
        run_ltk("destroy", str(topology))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_the_document_do_what_it_shows(document: Path, desk: Path) -> None:
    do_what_it_shows(document, desk, dict(os.environ), lambda *words: [*words])


def do_what_it_shows(
    document: Path, desk: Path, variables: dict[str, str], command: Callable[..., list[str]]
) -> None:
    """Run all examples of a document in the folder `desk`; `command` is what a command line is put into."""
    environment = {name: value for name, value in variables.items() if not name.startswith("LTK_")}
    tools = f"{Path(sys.executable).parent}:{environment['PATH']}"
    examples = examples_in(document)
    assert examples
    for example in examples:
        done = subprocess.run(
            command("sh", "-c", example.command),
            cwd=desk,
            env=environment | {"PATH": tools},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )
        told = f"{example.place}: $ {example.command}\nstatus {done.returncode}\n{done.stdout}"
        assert done.returncode == 0, told
        shown, printed = shapes(example.shown), shapes(done.stdout.splitlines())
        assert matches(shown, printed), f"{told}\nshown, in shape: {shown}\nprinted: {printed}"


def test_the_readme_has_the_commands_of_a_whole_life() -> None:
    """The test above could not fail on a README whose blocks it did not find."""
    verbs = [example.command.split()[1] for example in examples_in(REPOSITORY / "README.md")]
    assert [
        verb for verb in ("validate", "apply", "ping", "exec", "status", "destroy") if verb not in verbs
    ] == []


@pytest.mark.parametrize(
    "printed",
    [
        "3 packets transmitted, 2 received, 33% packet loss, time 402ms",
        "64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=1.2 ms",
        "hub server 10.0.0.1 stopped",
        "packets 3 bytes 252",
    ],
)
def test_what_matters_is_not_masked(printed: str) -> None:
    right = [
        "3 packets transmitted, 3 received, 0% packet loss, time 407ms",
        "64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=2.5 ms",
        "hub server 10.0.0.1 running",
        "packets 0 bytes 0",
    ]
    assert shape(printed) not in shapes(right)


def test_a_size_is_masked_whatever_its_unit() -> None:
    assert shape("direct 972 B 1.0 KiB") == shape("direct 1.0 KiB 972 B") == "direct # bytes # bytes"
