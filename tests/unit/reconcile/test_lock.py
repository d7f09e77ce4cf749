"""One ltk at a time works on a topology, and having looked leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ltk.errors import BusyError
from ltk.reconcile.apply import locked


def test_a_second_one_is_told_who_is_at_work(folders: Path) -> None:
    with locked("t", "applying"):
        words = f"destroying t: process {os.getpid()} is at work"
        with pytest.raises(BusyError, match=words) as caught, locked("t", "destroying"):
            pytest.fail("two at a time")
        assert caught.value.exit_status == 7
        assert caught.value.retry_can_help
        assert caught.value.hint


def test_other_topologies_are_not_held_up(folders: Path) -> None:
    with locked("t", "applying"), locked("u", "applying"):
        assert (folders / "run" / "u" / "lock").exists()


def test_nothing_is_left_where_nothing_was_done(folders: Path) -> None:
    with locked("t", "applying"):
        pass
    assert not (folders / "run").exists()


def test_a_failure_gives_the_lock_back(folders: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked("t", "applying"):
        _ = 1 / 0
    with locked("t", "applying"):
        pass


def test_what_was_put_there_meanwhile_stays(folders: Path) -> None:
    with locked("t", "applying"):
        (folders / "run" / "t" / "topology.yaml").touch()
    assert (folders / "run" / "t" / "topology.yaml").exists()
    with locked("t", "destroying"):
        (folders / "run" / "t" / "topology.yaml").unlink()
    assert not (folders / "run").exists()


def test_nobody_else_sees_into_the_folder(folders: Path) -> None:
    with locked("t", "applying"):
        assert (folders / "run" / "t").stat().st_mode & 0o777 == 0o700
        assert (folders / "run" / "t" / "lock").stat().st_mode & 0o777 == 0o600
