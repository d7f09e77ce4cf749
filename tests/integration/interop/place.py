"""Where programs of a test run: a network namespace, and what can be done inside of it."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LOG_LINES = 60  # of a log in a report
STOP_DEADLINE = 10.0  # seconds that a process gets to end by itself


@dataclass(frozen=True, slots=True)
class Pings:
    """What `ping` counted."""

    sent: int
    received: int
    output: str

    @classmethod
    def read(cls, output: str) -> Pings:
        """Read what `ping` printed."""
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        assert found, f"ping said:\n{output}"
        return cls(int(found[1]), int(found[2]), output)

    def first(self, count: int) -> Pings:
        """Of the first `count` alone, each answer once."""
        answered = {int(number) for number in re.findall(r"bytes from .*icmp_seq=(\d+) ", self.output)}
        return Pings(count, sum(number <= count for number in answered), self.output)


@dataclass(frozen=True, slots=True)
class Place:
    """One network namespace."""

    namespace: str

    def command(self, *words: str) -> list[str]:
        """The command `words`, to be run inside."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def run(self, *words: str, check: bool = True, timeout: float = 60.0, given: str | None = None) -> str:
        """Run a command inside, with `given` as its input, and return what it printed."""
        done = subprocess.run(
            self.command(*words), input=given, capture_output=True, text=True, timeout=timeout, check=False
        )
        said = f"{' '.join(words)} in {self.namespace}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, said
        return done.stdout

    def ip(self, words: str) -> None:
        """Run `ip` inside."""
        self.run("ip", *words.split())

    @contextmanager
    def running(
        self,
        *words: str,
        output: IO[str] | int = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[str]]:
        """A command inside while the body goes on, then SIGTERM; its errors go where its output goes."""
        command = self.command(*words)
        with subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process:
            try:
                yield process
            finally:
                stop(process)

    def ping(self, target: str, *options: str, count: int = 5, interval: float = 0.02) -> Pings:
        """Ping `target`, `count` times, `interval` seconds apart."""
        output = self.run(*ping_words(target, *options, count=count, interval=interval), check=False)
        pings = Pings.read(output)
        return pings if "-w" in options else pings.first(count)

    @contextmanager
    def pinging(self, target: str, *options: str, count: int, interval: float) -> Iterator[PingsToCome]:
        """The same while the body goes on."""
        with self.running(*ping_words(target, *options, count=count, interval=interval)) as process:
            yield PingsToCome(process, count, deadline=count * interval + 30.0)


class PingsToCome:
    """A `ping` under way."""

    def __init__(self, process: subprocess.Popen[str], count: int, deadline: float) -> None:
        self._process = process
        self._count = count
        self._deadline = deadline

    def result(self) -> Pings:
        """Wait for its end."""
        output, _ = self._process.communicate(timeout=self._deadline)
        return Pings.read(output).first(self._count)


def ping_words(target: str, *options: str, count: int, interval: float) -> tuple[str, ...]:
    """The command line. Unless told otherwise, answers are waited for until 10 s after the last ping.

    By itself ping waits two round trips for the last one. With a deadline it sends on until it has so many
    answers: what it sent in excess is not counted, see Pings.
    """
    told = {"-W", "-w"} & set(options)
    patience = () if told else ("-w", str(math.ceil(count * interval) + 10))
    return ("ping", "-n", "-c", str(count), "-i", str(interval), *patience, *options, target)


def tell(log: Path) -> None:
    """Make the end of a program's log part of the report, should the test have failed."""
    print(f"--- {log}", *log.read_text().splitlines()[-LOG_LINES:], sep="\n")


def stop(process: subprocess.Popen[str]) -> None:
    """End a process, by force where it does not go."""
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_DEADLINE)
