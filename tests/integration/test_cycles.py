"""Up and down, again and again, and several labs at once: what is left is nothing.

LTK_CYCLES says how often, such as 1000.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import REPOSITORY, Lab, machine_state

from ltk.cli.main import run as ltk

CYCLES = int(os.environ.get("LTK_CYCLES", "50"))
TURNS = 3  # of each of the labs that are up at once
LARGEST = max((REPOSITORY / "topologies").glob("*.yaml"), key=lambda path: path.stat().st_size)


def processes() -> list[str]:
    """The command lines of the processes of this machine that have one: not of those that have ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue  # it has ended
        found += [f"{entry.name} {os.fsdecode(words)}"] if words else []
    return sorted(found)


def held() -> dict[str, str]:
    """What this process holds open, by descriptor."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # that by which the folder is read
    return found


def test_up_and_down_again_and_again_leaves_nothing(lab: Callable[..., Lab]) -> None:
    """In one process, so that it would gather what each cycle leaves."""
    made = lab(LARGEST.read_text(), apply=False)

    def cycle() -> None:
        assert ltk(["apply", str(made.path)]) == 0
        assert ltk(["destroy", str(made.path)]) == 0

    cycle()  # what is made once, such as modules and threads, is no leak
    machine, running, descriptors, threads = machine_state(), processes(), held(), threading.active_count()
    for number in range(1, CYCLES + 1):
        cycle()
        assert held() == descriptors, f"after cycle {number}"
        assert threading.active_count() == threads, f"after cycle {number}"
    assert machine_state() == machine
    assert processes() == running


def test_labs_that_go_up_and_down_at_once_do_not_touch_each_other(lab: Callable[..., Lab]) -> None:
    texts = [(REPOSITORY / "topologies" / f"{name}.yaml").read_text() for name in ("quickstart", "two-homes")]
    made = [lab(text, apply=False) for text in texts]
    before = machine_state()
    together = threading.Barrier(len(made), timeout=120)

    def turns(each: Lab, first: str, hub: str) -> int:
        answered = 0
        for _ in range(TURNS):
            together.wait()
            each.apply()
            answered += each.ping(first, hub)["received"]
            together.wait()  # one is asked while the other one goes
            each.destroy()
        return answered

    with ThreadPoolExecutor(len(made)) as pool:
        asked = zip(made, ("alice", "alice"), ("10.0.0.1", "10.20.0.1"), strict=True)
        answers = list(pool.map(lambda words: turns(*words), asked))
    assert answers == [3 * TURNS, 3 * TURNS]
    assert machine_state() == before
