"""What `ltk apply --hosts` and `ltk render -o ansible` do: the machines of a topology, by way of Ansible."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from ltk.cli.common import emit, say, text_of
from ltk.errors import InvalidInputError, LtkError, MissingError
from ltk.fleet.ansible import INVENTORY, PLAYBOOK, folder_of, machines_of, write
from ltk.fleet.recap import Recap, recap_of
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology

PROGRAM = "ansible-playbook"

__all__ = ["INVENTORY", "PLAYBOOK", "apply", "files_of", "refuse", "write"]


def files_of(file: str) -> tuple[Topology, dict[str, bytes]]:
    """The topology in `file` as one of real hosts, and the files by which Ansible takes it there."""
    text = text_of(file)
    wanted = parse_topology(text.data, file=text.file, folder=text.folder)
    return wanted, folder_of(wanted, text.data)


def refuse(file: str, *, hosts: bool, within: str | None) -> None:
    """Raise InvalidInputError for options of `ltk apply` that do not go together."""
    doing = f"applying {file}"
    if not hosts:
        raise InvalidInputError(
            doing, "--package is for --hosts", hint="To install ltk here: pip install FILE"
        )
    if within is not None:
        hint = "Leave it out, or run `ltk apply --confirm` on each of them."
        raise InvalidInputError(doing, "--confirm is for this machine, not for --hosts", hint=hint)


def apply(file: str, only: str | None, package: str | None, output: str) -> None:
    """Have Ansible bring up each machine of the topology, or those that `only` names.

    Raises MissingError where there is no Ansible, and LtkError where a machine could not be reached or has
    failed: Ansible has said which and why by then.
    """
    wanted, files = files_of(file)
    doing = f"applying {wanted.name} to its hosts"
    names = _chosen(wanted, only, doing)
    program = shutil.which(PROGRAM)
    if program is None:
        hint = "Install Ansible (apt-get install ansible-core), or take the topology there in another way."
        raise MissingError(doing, f"there is no {PROGRAM}", hint=hint)
    words = ["--limit", ",".join(names)]
    if package is not None:
        if not Path(package).is_file():
            raise InvalidInputError(doing, f"--package: there is no file {package}")
        words += ["--extra-vars", json.dumps({"ltk_package": str(Path(package).absolute())})]
    with tempfile.TemporaryDirectory(prefix="ltk-fleet-") as folder:
        write(files, Path(folder))
        status, recap = _run(
            [program, "--inventory", f"{folder}/{INVENTORY}", *words, f"{folder}/{PLAYBOOK}"]
        )
    if status != 0:
        hint = "Ansible has said above why. The others are done; the same command does the rest."
        if not str(recap):  # it has not come as far as the machines
            hint = "Ansible has said above why."
        raise LtkError(doing, str(recap) or f"{PROGRAM} ended with status {status}", hint=hint)
    if output == "json":
        emit({"topology": wanted.name, "hosts": names, "changed": sorted(recap.changed)})
    else:
        say(f"{wanted.name} is up on {', '.join(names)}")


def _run(words: list[str]) -> tuple[int, Recap]:
    """Run Ansible; its exit status, and what has become of each machine.

    What it says is for a person: it goes to standard error, since standard output is for data.
    """
    told = {"ANSIBLE_DISPLAY_SKIPPED_HOSTS": "no"} | os.environ | {"ANSIBLE_STDOUT_CALLBACK": "default"}
    if sys.stderr.isatty() and not os.environ.keys() & {"NO_COLOR", "ANSIBLE_NOCOLOR"}:
        told = {"ANSIBLE_FORCE_COLOR": "yes"} | told  # what it writes to is no terminal, and then goes to one
    lines = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, errors="replace", env=told) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            click.echo(line, err=True, nl=False)
    return process.returncode, recap_of(lines)


def _chosen(wanted: Topology, only: str | None, doing: str) -> list[str]:
    names = [node.name for node in machines_of(wanted)]
    if only is None:
        return names
    chosen = [word.strip() for word in only.split(",")]
    for name in chosen:
        if name not in names:
            problem = f"--only: {name!r} is no machine of it"
            raise InvalidInputError(doing, problem, hint=f"There are: {', '.join(names)}.")
    return chosen
