"""A journal is read back as it was written, up to where it is torn; anything else is in nobody's way."""

from __future__ import annotations

import json
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_states import states

from ltk.errors import LtkError
from ltk.reconcile.journal import Journal, Left, note, read
from ltk.reconcile.kept_faults import InForce
from ltk.reconcile.resources import (
    Address,
    Conditions,
    Daemon,
    End,
    Program,
    Resource,
    Route,
    Ruleset,
    Secret,
    State,
    Stray,
    Veth,
    Wire,
)
from ltk.reconcile.stored_resources import from_json, to_json
from ltk.reconcile.undo import Undo, undo_from_json

WIRE = Wire(End("a", "eth0", 1500), End("b", "wan", 1500, "lan"), Conditions(delay=5, seed=7))
RESOURCES: tuple[Resource, ...] = (
    WIRE,
    Wire(WIRE.a, WIRE.b, None, carried=False),
    Veth(WIRE.a, WIRE.b),
    Address("a", "eth0", ip_interface("fd00::1/64")),
    Route("a", ip_network("0.0.0.0/0"), "eth0", "10.0.0.1"),
    Ruleset("a", ("chain a", "12ab"), "table inet ltk {}"),
    Secret("", "/var/lib/ltk/t/a.key", "ab12", "c2VjcmV0"),
    Daemon("a", "a", {"peers": [{"name": "b"}]}, "KEY", {"b": None}, running=False),
    Program("a", "a", "sleep 1", "/"),
    Stray("a", "half"),
)
UNDO = Undo(
    touched=frozenset(each.key for each in RESOURCES),
    was=RESOURCES,
    files={"topology.yaml": "name: t\n", "topology.faults": None},
    faults=(InForce(3, "block a b", stated=True),),
    supervised=True,
    nothing=False,
)


@given(states(leftovers=True))
def test_resources_are_read_back_as_they_were(state: State) -> None:
    for resource in (*state.values(), *RESOURCES):
        assert whole(from_json(json.loads(json.dumps(to_json(resource))))) == whole(resource)


def whole(resource: Resource) -> tuple[Resource, str]:
    """Texts and values take no part in a comparison of resources."""
    return resource, getattr(resource, "text", "") + getattr(resource, "value", "")


def written(path: Path) -> Left:
    """A journal of everything that there is to say, and what it says."""
    journal = Journal(path, "applying", UNDO)
    journal.begin(("+ one", "~ two"))
    journal.begin(("- three",))
    journal.undoing("it failed")
    note(path, {"until": 12.5, "auto": True})
    left = read(path)
    assert left is not None
    return left


def test_a_journal_says_what_was_written_into_it(tmp_path: Path) -> None:
    left = written(tmp_path / "journal")
    assert left.undo == UNDO == undo_from_json(json.loads(json.dumps(UNDO.to_json())))
    assert left.begun == ("+ one", "~ two", "- three")
    assert (left.undoing, left.until, left.auto) == ("it failed", 12.5, True)
    assert "stopped while applying it; 3 operations had begun" in str(left)
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_a_journal_shows_no_secret_but_in_its_file(tmp_path: Path) -> None:
    left = written(tmp_path / "journal")
    assert "c2VjcmV0" in (tmp_path / "journal").read_text(), "it could not be undone without"
    assert "c2VjcmV0" not in repr(left) + str(left)


def test_a_journal_that_is_torn_anywhere_says_what_was_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    data = path.read_bytes()
    told = []
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        left = read(path)
        assert left is not None
        told.append((left.process is not None, left.undo is not None, len(left.begun), left.until))
    assert told == sorted(told, key=lambda each: (each[0], each[1], each[2]))
    assert told[0] == (False, False, 0, None)
    assert told[-1][:3] == (True, True, 3)


@given(st.binary())
def test_whatever_a_journal_holds_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "journal"
    path.write_bytes(data)
    left = read(path)
    assert left == Left()
    assert str(left).startswith("an earlier run was stopped")


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 2, "process": 1, "doing": "applying"}\n',
        '{"version": 1}\n',
        "[]\n",
        "[" * 100_000 + "\n",
        '{"version": 1, "process": "me", "doing": "applying"}\n',
    ],
)
def test_another_version_and_other_documents_say_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(text)
    assert read(path) == Left()


def test_no_journal_is_none_and_a_folder_in_its_place_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "journal") is None
    assert read(tmp_path) == Left()


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(LtkError, match=r"writing .*journal\.new: No such file"):
        Journal(tmp_path / "missing" / "journal", "applying", UNDO)
