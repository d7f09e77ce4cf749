"""The benchmark, as short as it gets: it measures what it says, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness import REPOSITORY

LIMIT = 300.0  # seconds; how fast anything was is not judged


def test_the_benchmark_measures_a_pair_and_a_crowd(tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = [
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--halvings",
        "1",
        "--only",
        "ltk-direct,crowd",
        "--clients",
        "5",
        "--idle",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "bench"), *words, "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    run = json.loads(output.with_suffix(".json").read_text())
    (turn,) = run["rounds"]
    assert turn["tool"] == "ltk direct"
    assert {name for name, value in turn["values"].items() if value is None} == set()
    assert turn["values"]["tcp1_mbit"] > 0
    (crowd,) = run["crowd"]
    assert crowd["size"] == 5
    assert "| ltk direct |" in done.stdout


def test_the_benchmark_says_what_it_does_not_know() -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "bench"), "--only", "carrier-pigeon"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 3
    assert "carrier-pigeon" in done.stderr
    assert "Traceback" not in done.stderr
