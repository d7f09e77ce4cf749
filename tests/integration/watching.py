"""`ltk watch` at work beside a test, and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import DEADLINE, wait_for


class Watcher:
    """A running `ltk watch -o json`; `events` are the objects that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.said = ""
        self._threads = [threading.Thread(target=each) for each in (self._read, self._read_words)]
        for thread in self._threads:
            thread.start()
        wait_for(lambda: "Ctrl-C ends it" in self.said or process.poll() is not None, "the watch to begin")
        assert process.poll() is None, self.said

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_words(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said += line

    def of(self, event: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [each for each in self.events if each["event"] == event]

    def wait_for(self, event: str, **wanted: object) -> dict[str, Any]:
        """The first event of that kind in which these keys have these values."""

        def matching() -> list[dict[str, Any]]:
            return [each for each in self.of(event) if wanted.items() <= each.items()]

        found: dict[str, Any] = wait_for(matching, f"{event} {wanted}, of {self.events}")[0]
        return found

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit status."""
        self.process.send_signal(number)
        return self.join()

    def join(self) -> int:
        """Wait for its end, and for the last that it said; returns the exit status."""
        status = self.process.wait(DEADLINE)
        for thread in self._threads:
            thread.join(DEADLINE)
        return status


@contextmanager
def watching(topology: str, *options: str, at: Sequence[str] = ()) -> Iterator[Watcher]:
    """`ltk watch` of what is up under that name, for as long as the body takes.

    `at` is the command that leads to another machine, where it ends with the topology at the latest.
    """
    command = [*at, sys.executable, "-m", "ltk", "watch", topology, "-o", "json", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            watcher = Watcher(process)
            yield watcher
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
    assert "Traceback" not in watcher.said, watcher.said
