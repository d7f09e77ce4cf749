"""A saved plan says what it was made for, and agrees to that and to nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from random_states import HOSTS, TOPOLOGY, states

from ltk.errors import ChangedError, InTheWayError, InvalidInputError
from ltk.reconcile import saved
from ltk.reconcile.plan import plan
from ltk.reconcile.resources import Daemon, Namespace, Secret, State, state_of
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology
from ltk.topology.text import Text

Parse: TypeAlias = Callable[[str], Topology]
YAML = """
name: t
network: {subnet: 10.0.0.0/24, psk: {env: WORD}}
nodes: {hub: {role: server}, alice: {}}
lab: {sites: {cloud: {hosts: [hub]}, home: {nat: port-restricted, hosts: [alice]}}}
"""
WANT = state_of(
    [Namespace(HOSTS[0], TOPOLOGY), Secret("", "/var/lib/ltk/t/h0.key", "0123abcd", "the-key-itself")]
)


def save(folder: Path, parse: Parse, want: State, have: State) -> Path:
    path = folder / "plan.json"
    saved.write(path, parse(YAML), plan(want, have), have)
    return path


def read(path: Path) -> saved.SavedPlan:
    return saved.read(Text(path.read_bytes(), str(path), path.parent))


def test_what_is_read_back_is_what_was_saved(tmp_path: Path, parse: Parse) -> None:
    path = save(tmp_path, parse, WANT, {})
    assert saved.is_plan(path.read_bytes())
    assert path.stat().st_mode & 0o077 == 0
    found = read(path)
    again = parse_topology(found.wanted.data, file="plan", folder=Path("/elsewhere"))
    assert again == parse(YAML)
    assert [each["name"] for each in found.changes] == [HOSTS[0], "/var/lib/ltk/t/h0.key"]
    found.agree(plan(WANT, {}), {})


def test_no_secret_stands_in_it(tmp_path: Path, parse: Parse) -> None:
    assert "the-key-itself" not in save(tmp_path, parse, WANT, {}).read_text()


@given(states(), states(leftovers=True))
def test_it_agrees_to_what_it_was_made_for_in_whatever_order_it_is_found(want: State, have: State) -> None:
    made = saved.SavedPlan("p", Text(b"", "p", Path()), _changes(want, have), saved.digests(have))
    found = dict(reversed(have.items()))
    made.agree(plan(want, found), found)


@given(states(), states(), states())
def test_it_agrees_to_nothing_else(want: State, then: State, now: State) -> None:
    made = saved.SavedPlan("p", Text(b"", "p", Path()), _changes(want, then), saved.digests(then))
    assert agrees(made, want, now) is (then == now), "it agrees to another state"


def agrees(made: saved.SavedPlan, want: State, now: State) -> bool:
    try:
        made.agree(plan(want, now), now)
    except ChangedError:
        return False
    return True


def _changes(want: State, have: State) -> tuple[dict[str, str], ...]:
    return tuple(saved.entry(each) for each in plan(want, have))


def test_it_says_what_has_changed(tmp_path: Path, parse: Parse) -> None:
    found = read(save(tmp_path, parse, WANT, {}))
    other = Namespace(HOSTS[1], TOPOLOGY)
    with pytest.raises(ChangedError, match=f"this has come to be done: - namespace {other.scope} "):
        found.agree(plan(WANT, {other.key: other}), {other.key: other})
    there = state_of([Namespace(HOSTS[0], TOPOLOGY)])
    with pytest.raises(ChangedError, match=rf"not to be done any more: \+ namespace {HOSTS[0]} "):
        found.agree(plan(WANT, there), there)
    with pytest.raises(ChangedError, match="all that it would do has come about") as caught:
        found.agree([], WANT)
    assert caught.value.exit_status == 2
    assert caught.value.hint


def test_a_change_where_the_plan_does_nothing_counts_as_well(tmp_path: Path, parse: Parse) -> None:
    """A namespace that goes takes along what has come into it since."""
    gone: State = state_of([Namespace(HOSTS[0], TOPOLOGY)])
    found = read(save(tmp_path, parse, {}, gone))
    daemon = Daemon(HOSTS[0], "h0", {"b": 1, "a": 2}, "KEY", {})
    fuller = gone | state_of([replace(daemon, config={"a": 2, "b": 1})])
    with pytest.raises(ChangedError):
        found.agree(plan({}, fuller), fuller)
    with pytest.raises(ChangedError, match=f"something has changed in {HOSTS[0]}"):
        found.agree(plan({}, gone), fuller)


EDITS: dict[str, Any] = {
    "a change left out": lambda document: document["changes"].pop(),
    "a change made up": lambda document: document["changes"].append(document["changes"][0]),
    "something else wanted": lambda document: document.update(wanted="name: other"),
    "another state": lambda document: document["seen"].update({HOSTS[0]: "00"}),
    "a key too many": lambda document: document.update(note="mine"),
    "no digest": lambda document: document.pop("digest"),
    "changes of another type": lambda document: document.update(changes={}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_file_that_was_edited_is_refused(edit: str, tmp_path: Path, parse: Parse) -> None:
    path = save(tmp_path, parse, WANT, {})
    document = json.loads(path.read_text())
    EDITS[edit](document)
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError, match="somebody has edited it") as caught:
        read(path)
    assert caught.value.hint


def test_a_file_whose_layout_alone_was_changed_is_the_same(tmp_path: Path, parse: Parse) -> None:
    path = save(tmp_path, parse, WANT, {})
    before = read(path)
    path.write_text("\n " + json.dumps(json.loads(path.read_text()), indent=4))
    assert read(path) == before


@pytest.mark.parametrize("form", ["2", '"1"', "null", "{}"])
def test_another_version_is_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(f'{{"ltk_plan": {form}}}')
    with pytest.raises(InvalidInputError, match="this ltk reads the form 1"):
        read(path)


@pytest.mark.parametrize(
    "rest", [b"", b":", b': 1, "wanted": "', b": 1}}", b": \xff}", b":" + b"[" * 100_000]
)
def test_a_torn_file_is_refused(rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b'{"ltk_plan"' + rest)
    with pytest.raises(InvalidInputError, match="it is damaged"):
        read(path)


@pytest.mark.parametrize("text", [b"", b"name: t", b'{"name": "t"}', b'["ltk_plan"]', b"\xff\xfe"])
def test_a_topology_is_no_plan(text: bytes) -> None:
    assert not saved.is_plan(text)


def test_only_a_plan_is_overwritten(tmp_path: Path, parse: Parse) -> None:
    path = save(tmp_path, parse, WANT, {})
    save(tmp_path, parse, {}, {})
    assert read(path).changes == ()
    path.write_text(YAML)
    with pytest.raises(InTheWayError, match="something else is there"):
        save(tmp_path, parse, WANT, {})
    assert path.read_text() == YAML
