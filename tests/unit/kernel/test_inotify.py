"""Folders tell of entries that come, go and are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ltk.kernel.inotify import Change, Folders


@pytest.fixture
def folders() -> Iterator[Folders]:
    folders = Folders()
    yield folders
    folders.close()


def test_what_comes_goes_and_is_moved_is_told_by_name(folders: Folders, tmp_path: Path) -> None:
    folders.watch(tmp_path)
    (tmp_path / "one").write_text("")
    (tmp_path / "one").rename(tmp_path / "two")
    (tmp_path / "two").unlink()
    assert [each.name for each in folders.read()] == ["one", "one", "two", "two"]
    assert folders.read() == []


def test_what_is_written_is_told_only_where_that_is_asked_for(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folders.watch(tmp_path)
    (tmp_path / "file").write_text("more")
    (tmp_path / "file").chmod(0o644)
    assert folders.read() == []
    folders.watch(tmp_path, contents=True)
    (tmp_path / "file").write_text("more")
    (tmp_path / "file").chmod(0o600)
    assert folders.read() == [Change(tmp_path, "file")] * 2


def test_a_folder_that_goes_is_told_and_one_made_anew_can_be_watched(
    folders: Folders, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folders.watch(folder)  # not yet there
    folder.mkdir()
    folders.watch(folder)
    folder.rmdir()
    assert folders.read() == [Change(folder, "")]
    folder.mkdir()
    folders.watch(folder)
    (folder / "file").touch()
    assert folders.read() == [Change(folder, "file")]


def test_more_than_the_kernel_keeps_is_told_as_something_unknown(folders: Folders, tmp_path: Path) -> None:
    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    folders.watch(tmp_path)
    for _ in range(room // 2 + 2):
        os.close(os.open(tmp_path / "file", os.O_CREAT))
        (tmp_path / "file").unlink()
    told = []
    while batch := folders.read():
        told += batch
    assert told[-1] == Change(None, "")
