"""Mutants stay in tests: where and how they are refused, and that they break what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ltk.errors import InvalidInputError
from ltk.protocol.replay import ReplayWindow
from ltk.testing import breaking, mutants


@pytest.fixture
def _product_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReplayWindow, "accept", ReplayWindow.accept)


def test_a_mutant_is_refused_outside_of_a_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mutants.TEST_RUN)
    with pytest.raises(InvalidInputError, match="'session-no-replay-window': only a test") as caught:
        mutants.install("session-no-replay-window")
    assert caught.value.hint == "Unset LTK_MUTANT."
    window = ReplayWindow()
    assert [window.accept(1), window.accept(1)] == [True, False]


def test_a_daemon_does_not_start_with_a_mutant_outside_of_a_test_run(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != mutants.TEST_RUN}
    done = subprocess.run(
        [sys.executable, "-m", "ltk", "node", str(tmp_path / "absent.json")],
        env=environment | {"LTK_MUTANT": "tun-busy-loop"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == InvalidInputError.exit_status, done.stderr
    assert "only a test may run a program that is broken on purpose" in done.stderr


def test_a_misspelt_mutant_is_refused_with_the_one_that_may_be_meant() -> None:
    with pytest.raises(InvalidInputError, match="'tun-bussy-loop': there is no such mutant") as caught:
        mutants.install("tun-bussy-loop")
    assert caught.value.hint == "Did you mean tun-busy-loop?"


def test_a_name_like_no_mutants_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(InvalidInputError) as caught:
        mutants.install("42")
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in mutants.names())


@pytest.mark.usefixtures("_product_is_put_back")
def test_an_installed_mutant_replaces_what_it_says() -> None:
    mutants.install("session-no-replay-window")
    window = ReplayWindow()
    assert [window.accept(1), window.accept(1)] == [True, True]


def test_a_method_that_was_renamed_is_noticed() -> None:
    with pytest.raises(AttributeError, match="ReplayWindow has no method was_accept of its own"):
        breaking.replace(ReplayWindow, "was_accept", lambda: None)
