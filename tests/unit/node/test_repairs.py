from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltk.node.poller import Poller
from ltk.supervise.repair import Repairs

TurnUntil = Callable[[Callable[[], object], str], None]
SCRIPT = """
import pathlib, sys
folder, node = pathlib.Path(sys.argv[1]), sys.argv[2]
log = folder / "log"
with log.open("a") as file:
    file.write(node + "\\n")
plan = (folder / node).read_text().split()
status = plan.pop(0)
(folder / node).write_text(" ".join(plan))
if status == "hang":
    sys.stdin = open(folder / "fifo")
    sys.stdin.read()
sys.exit(int(status))
"""


@pytest.fixture
def repairs(tmp_path: Path, poller: Poller) -> Repairs:
    return Repairs(
        "straw", poller, lambda topology, node: [sys.executable, "-c", SCRIPT, str(tmp_path), node]
    )


def plan(folder: Path, node: str, statuses: str) -> None:
    (folder / node).write_text(statuses)


def ran(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().split() if log.exists() else []


def test_a_busy_or_failing_repair_is_tried_again_until_it_succeeds(
    tmp_path: Path, repairs: Repairs, turn_until: TurnUntil, capfd: pytest.CaptureFixture[str]
) -> None:
    plan(tmp_path, "alice", "7 1 0 9")
    repairs.want("alice")
    said = ""

    def repaired() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "alice: repaired" in said

    turn_until(repaired, "the third attempt")
    assert ran(tmp_path) == ["alice"] * 3
    assert "another ltk is at work, trying again in 0.1 s" in said
    assert "the repair ended with 1, trying again in 0.2 s" in said


def test_one_repair_at_a_time_and_each_in_its_turn(
    tmp_path: Path, repairs: Repairs, turn_until: TurnUntil, capfd: pytest.CaptureFixture[str]
) -> None:
    for node in ("alice", "bob"):
        plan(tmp_path, node, "0 0")
        repairs.want(node)
    repairs.want("alice")  # it went again while it was being repaired
    said = ""

    def all_repaired() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.count(": repaired") == 3

    turn_until(all_repaired, "three repairs")
    events = [line.split(" info ")[1].split(":")[0] for line in said.splitlines()]
    assert events == ["alice", "alice", "bob", "bob", "alice", "alice"]


def test_calling_off_ends_a_repair_that_is_at_work(
    tmp_path: Path, repairs: Repairs, turn_until: TurnUntil
) -> None:
    os.mkfifo(tmp_path / "fifo")
    plan(tmp_path, "alice", "hang 0")
    repairs.want("alice")
    turn_until_ran(turn_until, repairs, tmp_path)
    done: list[bool] = []
    repairs.call_off("alice", lambda: done.append(True))
    assert not done
    turn_until(lambda: done, "the end of the repair")
    assert ran(tmp_path) == ["alice"]


def turn_until_ran(turn_until: TurnUntil, repairs: Repairs, folder: Path) -> None:
    def tick() -> None:
        repairs._poller.later(0.01, tick)

    tick()
    turn_until(lambda: ran(folder), "the repair's beginning")


def test_calling_off_what_is_not_at_work_is_done_at_once(repairs: Repairs) -> None:
    done: list[bool] = []
    repairs.call_off("alice", lambda: done.append(True))
    assert done


def test_resting_ends_the_repair_at_work_and_begins_no_other(
    tmp_path: Path, repairs: Repairs, turn_until: TurnUntil
) -> None:
    os.mkfifo(tmp_path / "fifo")
    plan(tmp_path, "alice", "hang 0")
    plan(tmp_path, "bob", "0")
    repairs.want("alice")
    repairs.want("bob")
    turn_until_ran(turn_until, repairs, tmp_path)
    done: list[bool] = []
    repairs.rest(lambda: done.append(True))
    assert not done
    turn_until(lambda: done, "the end of the repair")
    assert ran(tmp_path) == ["alice"]
    repairs.want("bob")
    turn_until(lambda: ran(tmp_path) == ["alice", "bob"], "a repair that is wanted after the rest")
