"""Machines on which somebody types `ltk serve` and `ltk join`: hosts of a lab that has no tunnels."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Lab, wait_for

# alice and bob are 20 ms from each other. eve has no secret, or another one.
YAML = """
name: adhoc
nodes:
  hub: {role: host}
  alice: {role: host}
  bob: {role: host}
  eve: {role: host}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice], link: {delay: 5ms}}
    office: {nat: port-restricted, hosts: [bob], link: {delay: 5ms}}
    street: {hosts: [eve]}
"""
PORT = 9000
STAMP = re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d ")


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was typed, and what it has said so far."""

    process: subprocess.Popen[str]
    output: Path

    @property
    def lines(self) -> list[str]:
        """Its lines, less the time of day."""
        return [STAMP.sub("", line) for line in self.output.read_text().splitlines()]

    def said(self, words: str) -> bool:
        """Whether one of its lines begins so."""
        return any(line.startswith(words) for line in self.lines)

    def hear(self, words: str, deadline: float = 30.0) -> str:
        """Wait for a line that begins so, and return it."""

        def found() -> str | None:
            return next((line for line in self.lines if line.startswith(words)), None)

        told: str = wait_for(lambda: found() or self._ended(words), f"{words!r} from the command", deadline)
        return told

    def _ended(self, words: str) -> None:
        told = f"it ended before it said {words!r}:\n{self.output.read_text()}"
        assert self.process.poll() is None, told

    def stop(self, number: signal.Signals) -> int:
        """Send the signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)


class Machines:
    """The lab's machines, and what is typed on them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self._folder = folder
        self._typed = 0
        self.key = self.secret("correct horse battery staple")

    def secret(self, text: str) -> Path:
        """A file with this secret."""
        path = self._folder / f"key{len(text)}"
        path.write_text(f"{text}\n")
        path.chmod(0o600)
        return path

    @contextmanager
    def serve(self, host: str, *more: str, address: str = "10.0.0.1/24") -> Iterator[Command]:
        """`ltk serve` on a machine, for as long as the body takes."""
        words = ("serve", "--listen", f"0.0.0.0:{PORT}", "--address", address)
        with self.typed(host, *words, "--secret-file", str(self.key), *more) as command:
            yield command

    @contextmanager
    def join(
        self, host: str, server: str, address: str, *more: str, key: Path | None = None
    ) -> Iterator[Command]:
        """`ltk join` on a machine, for as long as the body takes."""
        words = ("join", f"{server}:{PORT}", "--address", address)
        with self.typed(host, *words, "--secret-file", str(key or self.key), *more) as command:
            yield command

    @contextmanager
    def typed(self, host: str, *words: str) -> Iterator[Command]:
        """A command of ltk's on a machine, for as long as the body takes."""
        self._typed += 1
        output = self._folder / f"{self._typed}-{host}.txt"
        with output.open("w") as file:
            ltk = (sys.executable, "-m", "ltk", *words)
            with self.lab.running(host, *ltk, stdout=file, stderr=subprocess.STDOUT) as process:
                try:
                    yield Command(process, output)
                finally:
                    print(f"--- ltk {' '.join(words)} on {host}:\n{output.read_text()}")

    def devices(self, host: str) -> set[str]:
        """The devices of a machine."""
        return {each["ifname"] for each in json.loads(self.lab.run(host, "ip", "-j", "link").stdout)}

    def looks(self, host: str) -> dict[str, str]:
        """The devices, addresses, routes and rules of a machine, and ltk's files on all of them."""
        commands = {
            "links": ("ip", "-o", "link"),
            "addresses": ("ip", "-o", "address"),
            "routes": ("ip", "route", "show", "table", "all"),
            "rules": ("ip", "rule"),
            "nftables": ("nft", "list", "ruleset"),
        }
        told = {name: self.lab.run(host, *words).stdout for name, words in commands.items()}
        files = [str(path) for path in sorted(Path("/run/ltk").rglob("*")) if path.suffix != ".log"]
        return told | {"files": "\n".join(files)}
