"""A ping that goes on while something else happens, judged by the number of each answer.

Ping's own count is of no use for that: what is on its way when ping is stopped counts as lost.
"""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Lab, wait_for

_number = itertools.count()


@dataclass(frozen=True, slots=True)
class Echoes:
    """What a ping has heard so far; it goes on until it is stopped."""

    process: subprocess.Popen[str]
    output: Path

    @property
    def answered(self) -> set[int]:
        """The numbers of the echo requests that were answered, each counted once."""
        return {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", self.output.read_text())}

    def wait_for_more(self, count: int) -> None:
        """Wait until `count` more are answered."""
        before = len(self.answered)
        wait_for(lambda: len(self.answered) >= before + count, f"{count} more answers to a ping", 60.0)

    def missing(self) -> list[int]:
        """Stop; return which were not answered between the first and the last that was."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        answered = self.answered
        assert answered, self.output.read_text()
        return sorted(set(range(min(answered), max(answered) + 1)) - answered)


@contextmanager
def pinging(lab: Lab, place: str, target: str, *options: str) -> Iterator[Echoes]:
    """A ping, five a second unless the options say otherwise, for as long as the body takes."""
    output = lab.path.with_suffix(f".ping-{place}-{next(_number)}.txt")
    with output.open("w") as file:
        words = ("ping", "-n", "-i", "0.2", "-W", "30", "-w", "1800", *options, target)
        with lab.running(place, *words, stdout=file, stderr=subprocess.STDOUT) as process:
            yield Echoes(process, output)


@contextmanager
def undisturbed(lab: Lab, place: str, target: str, *options: str) -> Iterator[None]:
    """Ten pings a second for as long as the body takes; none may be lost, before, meanwhile or afterwards."""
    with pinging(lab, place, target, "-i", "0.1", *options) as echoes:
        echoes.wait_for_more(1)
        yield
        echoes.wait_for_more(5)
        assert echoes.missing() == [], f"{place} has heard {len(echoes.answered)} answers of {target}"
