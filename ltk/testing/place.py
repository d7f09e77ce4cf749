"""One namespace of a lab, as a test uses it: commands inside, and looks at what the network does."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltk.errors import InvalidInputError
from ltk.kernel.icmp import Question, sweep
from ltk.lab.sites import INTERNET, UPLINK
from ltk.testing.capture import Capture
from ltk.topology.expanded import Address, Role, Topology
from ltk.verify.ends import ends, lab_of
from ltk.verify.inside import command_in, end_group
from ltk.verify.witness import watch

SHOWN = 4000  # characters of a failed command's output


@dataclass(frozen=True, slots=True)
class Place:
    """A node, the router of a site, or the internet between the sites; of a lab that is up."""

    topology: Topology
    name: str
    scope: str  # its network namespace
    folder: Path  # where captures go

    @property
    def address(self) -> str:
        """The first tunnel address of a node; the underlay's where it has no tunnel."""
        node = next((each for each in self.topology.nodes if each.name == self.name), None)
        return str(node.addresses[0].ip) if node is not None and node.addresses else self.underlay

    @property
    def underlay(self) -> str:
        """The first address of the network under the tunnels: of a site its router's public one."""
        lab = lab_of(self.topology)
        if self.name == INTERNET:
            return str(lab.core[0])
        site = next((each for each in lab.sites if each.name == self.name), None)
        return str(site.wan[0] if site is not None else lab.host(self.name).addresses[0].ip)

    def run(
        self, *words: str, check: bool = True, timeout: float = 60.0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait for it; a single word that has spaces in it is run by a shell.

        With `check`, AssertionError where its status is not 0. Raises subprocess.TimeoutExpired after
        `timeout` seconds; then nothing of it runs any more. `options` are those of `popen`.
        """
        given = options.pop("input", None)
        with self.popen(
            *words, **({"stdin": subprocess.PIPE} if given is not None else {}), **options
        ) as process:
            out, error = process.communicate(given, timeout)
        if check and process.returncode != 0:
            said = f"{(out or '')[-SHOWN:]}\n{(error or '')[-SHOWN:]}".strip()
            command = " ".join(words)
            raise AssertionError(f"{command} in {self.name} ended with status {process.returncode}:\n{said}")
        return subprocess.CompletedProcess(words, process.returncode, out, error)

    @contextlib.contextmanager
    def popen(self, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Have a command run inside for as long as the body takes, then end it with all that it has started.

        Its output is in pipes and text unless `options`, those of subprocess.Popen, say otherwise.
        """
        shell = len(words) == 1 and " " in words[0]
        command = ["/bin/sh", "-c", words[0]] if shell else [*words]
        pipe = subprocess.PIPE
        options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "text": True} | options
        process = subprocess.Popen(
            command_in(self.topology.name, self.name, command), process_group=0, **options
        )
        try:
            yield process
        finally:
            end_group(process)

    def ping(self, other: str, timeout: float = 3.0) -> float | None:
        """The round trip to another node, in milliseconds; None without an answer in `timeout` seconds.

        At the tunnel address; at that of the underlay where one of the two has no tunnel.
        """
        _, far = ends(self.topology, self.name, other)
        question = Question(self.scope, far.addresses[0])
        answer = sweep([question], timeout)[question]
        return None if answer is None else answer * 1000

    def path_to(self, other: str) -> str:
        """The way that packets to another client take just now, as the network sees it: direct, relay,
        both (while they go over from one to the other) or none."""
        for name in (self.name, other):
            if self.topology.node(name).role is not Role.CLIENT:
                raise InvalidInputError(
                    f"looking at the path from {self.name} to {other}", f"{name} is no client"
                )
        return watch(self.topology, self.name, other).way.value

    @contextlib.contextmanager
    def capture(self, device: str = UPLINK) -> Iterator[Capture]:
        """Capture what passes a device for as long as the body takes; a file of it stays in the folder."""
        with Capture(self.scope, self.name, device, self.folder / f"{self.name}-{device}.pcapng") as capture:
            yield capture


def address_of(text: Address) -> str:
    """An address as programs take it."""
    return str(text)
