"""The JSON Schema that editors read, and the verbs validate, schema and render."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ltk.cli.main import run
from ltk.topology.load import load_topology
from ltk.topology.model import json_schema

ROOT = Path(__file__).parents[3]
QUICKSTART = str(ROOT / "topologies" / "quickstart.yaml")


def mappings_in(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        for value in schema.values():
            yield from mappings_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from mappings_in(value)


def bad_file(folder: Path) -> str:
    path = folder / "bad.yaml"
    path.write_text(
        "name: t\nnetwork: {subnet: 10.0.0.0/24, mtu: big}\n"
        "nodes: {hub: {role: server}}\nlab: {sites: {x: {hosts: [hub]}}}\n"
    )
    return str(path)


def test_the_schema_in_the_docs_is_the_one_that_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "docs" / "topology.schema.json").read_text(), (
        "run: ltk schema > docs/topology.schema.json"
    )


def test_every_key_in_the_schema_says_what_it_is_for() -> None:
    keys = [
        (name, key) for mapping in mappings_in(json_schema()) for name, key in mapping["properties"].items()
    ]
    assert len(keys) > 25
    assert [name for name, key in keys if not key.get("description")] == []


def test_the_schema_knows_every_mapping_completely_and_never_allows_null() -> None:
    assert all(mapping["additionalProperties"] is False for mapping in mappings_in(json_schema()))
    assert "null" not in json.dumps(json_schema())


def test_every_key_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "topology.md").read_text()
    keys = {name for mapping in mappings_in(json_schema()) for name in mapping["properties"]}
    assert [name for name in sorted(keys) if f"`{name}`" not in reference] == []


def test_the_examples_in_the_reference_are_valid(tmp_path: Path) -> None:
    examples = (ROOT / "docs" / "topology.md").read_text().split("```yaml\n")[1:]
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"example-{number}.yaml"
        path.write_text(example.partition("```")[0])
        load_topology(str(path))


def test_validate_tells_a_person_how_much_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", QUICKSTART]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"{QUICKSTART}: valid: 3 nodes, 3 sites\n"


def test_validate_shows_each_problem_where_it_is_and_exits_3(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = bad_file(tmp_path)
    assert run(["validate", path]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{path}:2:37: network.mtu: should be a whole number, is 'big'\n")
    assert err.endswith(f"{path}: 1 problem\n")


def test_validate_gives_programs_the_same_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = bad_file(tmp_path)
    assert run(["validate", path, "-o", "json"]) == 3
    message = "should be a whole number, is 'big'"
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "valid": False,
        "problems": [{"file": path, "line": 2, "column": 37, "key": "network.mtu", "message": message}],
    }


def test_validate_gives_programs_a_missing_file_as_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = str(tmp_path / "nope.yaml")
    assert run(["validate", path, "-o", "json"]) == 3
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["file"], problem["line"], problem["message"]) == (path, None, "there is no such file")


def test_validate_says_valid_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", QUICKSTART, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 1, "valid": True, "problems": []}


def test_render_prints_a_file_that_means_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["render", QUICKSTART]) == 0
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(capsys.readouterr().out)
    assert load_topology(str(rendered)) == load_topology(QUICKSTART)


def test_render_as_json_holds_the_same_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["render", QUICKSTART, "-o", "json"]) == 0
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(json.dumps(json.loads(capsys.readouterr().out)["topology"]))
    assert load_topology(str(rendered)) == load_topology(QUICKSTART)


def test_render_refuses_a_bad_file_and_prints_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["render", bad_file(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "network.mtu" in err
