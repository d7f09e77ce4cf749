"""Saved plans on the command line: how they are written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Ltk

from ltk.kernel import paths


def test_a_saved_plan_has_the_changes_that_were_shown(ltk: Ltk, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    said = ltk("plan", file, "--save", path, "-o", "json")
    assert said.status == 2
    assert f"ltk apply {path}" in said.err
    document = json.loads(path.read_text())
    assert document["changes"] == said.data["changes"] != []
    assert (document["ltk_plan"], document["topology"]) == (1, "small")
    assert not paths.RUN.exists()


def test_a_plan_is_not_saved_over_anything_else(ltk: Ltk, file: Path) -> None:
    before = file.read_text()
    said = ltk("plan", file, "--save", file)
    assert said.status == 4
    assert str(file) in said.err
    assert file.read_text() == before


def test_a_folder_that_does_not_exist_is_named(ltk: Ltk, file: Path, tmp_path: Path) -> None:
    said = ltk("plan", file, "--save", tmp_path / "nowhere" / "plan.json")
    assert said.status == 1
    assert "nowhere" in said.err


@pytest.mark.parametrize("verb", ["validate", "plan", "status"])
def test_a_plan_where_a_topology_belongs_is_told_as_that(
    verb: str, ltk: Ltk, file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    ltk("plan", file, "--save", path)
    said = ltk(verb, path)
    assert said.status == 3
    assert f"is a saved plan and no topology (carry it out with: ltk apply {path})" in said.err
    assert "is not a key" not in said.err


def test_a_plan_that_was_edited_is_refused_and_nothing_is_made(ltk: Ltk, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    ltk("plan", file, "--save", path)
    path.write_text(path.read_text().replace("ltk-small-alice", "ltk-small-mallory"))
    said = ltk("apply", path)
    assert said.status == 3
    assert "somebody has edited it" in said.err
    assert "ltk plan" in said.err
    assert not paths.RUN.exists()


@pytest.mark.parametrize("text", ['{"ltk_plan": 1', '{"ltk_plan": 7}', "{]", '{"version": 1, "changes": []}'])
def test_what_is_neither_a_plan_nor_a_topology_is_refused(text: str, ltk: Ltk, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert ltk("apply", path).status == 3


def test_a_plan_is_carried_out_whole(ltk: Ltk, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    ltk("plan", file, "--save", path)
    said = ltk("apply", path, "--only", "alice")
    assert said.status == 3
    assert "it is carried out whole" in said.err
