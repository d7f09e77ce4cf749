"""What a killed run leaves is told and is in nobody's way; the next finishes it, wherever it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import twenty
from cut_short import chosen, cut_short, die, refuse, status_of_a_child
from echoes import undisturbed
from harness import Lab, run_ltk
from test_reconcile import THREE, WITH_CAROL

from ltk.cli.unfinished import unfinished
from ltk.kernel import paths
from ltk.reconcile.apply import converge, interrupted, preview, remove
from ltk.reconcile.faults import clear, inject
from ltk.reconcile.plan import Operation
from ltk.supervise import client
from ltk.topology.expanded import Topology
from ltk.topology.faults import parse
from ltk.topology.load import load_topology


def quiet(_: Operation) -> None:
    """Nobody listens."""


def apply_and_die(wanted: Topology, after: int) -> None:
    """Have a process apply it that is killed after that many operations."""

    def run() -> None:
        with cut_short(after, die):
            converge(wanted, quiet)

    assert status_of_a_child(run) == -signal.SIGKILL


def told(lab: Lab, operation: Operation) -> None:
    """Assert that the journal of the killed run tells of this operation, with what was before."""
    left = interrupted(lab.name)
    assert left is not None, "there is no journal"
    assert left.undo is not None
    assert str(operation) in left.begun, f"{operation} was begun and is not in the journal"
    assert operation.resource.key in left.undo.touched


def test_a_first_apply_that_is_killed_anywhere_is_finished_by_the_next(lab: Callable[..., Lab]) -> None:
    made = lab(twenty.TWENTY, apply=False)
    wanted = load_topology(str(made.path))
    operations = preview(wanted)
    for number in chosen(operations):
        apply_and_die(wanted, number)
        told(made, operations[number])
        assert twenty.unmarked(made) == []
        converge(wanted, quiet)
        assert preview(wanted) == [], f"killed before {operations[number]}"
        assert interrupted(made.name) is None
        remove(made.name, quiet)


def test_a_change_that_is_killed_anywhere_is_finished_by_the_next(lab: Callable[..., Lab]) -> None:
    made = lab(twenty.TWENTY)
    wanted = load_topology(str(made.path))
    made.rewrite(twenty.OTHER)
    other = load_topology(str(made.path))
    for topology in (other, wanted):  # settings have no owner, and stay: the second time is as all others
        converge(topology, quiet)
    operations = converge(other, quiet).operations
    converge(wanted, quiet)
    with undisturbed(made, "client-02", "10.90.0.1"):
        for number in chosen(operations):
            apply_and_die(other, number)
            told(made, operations[number])
            assert twenty.unmarked(made) == []
            converge(other, quiet)
            assert preview(other) == [], f"killed before {operations[number]}"
            converge(wanted, quiet)
            assert preview(wanted) == []


def supervisors(lab: Lab) -> list[Path]:
    """The processes that are the lab's supervisor, or begin to be, and the daemons that it has forked."""
    words = f"-m ltk.supervise {lab.name} ".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if words in entry.read_bytes().replace(b"\0", b" "):
                found.append(entry)
    return found


def test_the_supervisor_that_a_killed_run_was_starting_is_the_next_ones(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lab(THREE, apply=False)
    wanted = load_topology(str(made.path))

    def begin_and_die() -> None:
        monkeypatch.setattr(client, "_read_within", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        converge(wanted, quiet)

    assert status_of_a_child(begin_and_die) == -signal.SIGKILL
    (begun,) = supervisors(made)
    assert client.nodes(made.name) == (), "it listens, to whom it may"
    converge(wanted, quiet)
    assert begun in supervisors(made)
    assert paths.supervisor_log(made.name).read_text().count("the supervisor of three runs") == 1
    assert preview(wanted) == []
    remove(made.name, quiet)
    assert status_of_a_child(begin_and_die) == -signal.SIGKILL
    assert len(supervisors(made)) == 1
    remove(made.name, quiet)
    assert supervisors(made) == []


TORN = {
    "empty": b"",
    "garbage": b"\x00\xff\x1b[31m\n{",
    "torn": b'{"version": 1, "process": 999999, "doing": "applying"}\n{"undo": {"touch',
    "of another version": b'{"version": 99, "process": 1, "doing": "applying"}\n',
}


def test_no_journal_is_in_anybodys_way_whatever_it_holds(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    wanted = load_topology(str(made.path))
    for what, held in TORN.items():
        for path in (paths.journal(made.name), paths.unconfirmed(made.name)):
            path.write_bytes(held)
        told = unfinished(made.name)
        assert "was stopped" in told["interrupted"]["said"], what
        assert told["unconfirmed"]["seconds_left"] == 0, what
        assert preview(wanted) == [], what
        inject(wanted, parse("block alice bob", wanted))
        clear(wanted)
        assert len(converge(wanted, quiet).notes) == 2, what
        assert unfinished(made.name) == {"interrupted": None, "unconfirmed": None}, what
    paths.journal(made.name).write_bytes(TORN["garbage"])
    assert "was stopped" in run_ltk("status", made.name).stdout
    assert "was stopped" in run_ltk("plan", str(made.path)).stderr
    run_ltk("gc")
    assert made.ping("alice", "10.61.0.1")["received"] == 3, "it is up, and nothing for gc"
    assert "was stopped" in run_ltk("apply", str(made.path)).stderr
    paths.journal(made.name).write_bytes(TORN["garbage"])
    run_ltk("destroy", made.name)


def test_a_run_that_is_killed_while_it_undoes_is_undone_by_an_apply_of_the_name(
    lab: Callable[..., Lab],
) -> None:
    made = lab(THREE)
    before = twenty.everything(made)
    made.rewrite(WITH_CAROL)

    def refuse_and_die_soon(operation: Operation) -> NoReturn:
        """Fail, and be killed in the midst of what is done about it."""
        undoing.enter_context(cut_short(1, die))
        refuse(operation)

    def run() -> None:
        with cut_short(30, refuse_and_die_soon):
            converge(load_topology(str(made.path)), quiet)

    with contextlib.ExitStack() as undoing:
        assert status_of_a_child(run) == -signal.SIGKILL
    left = interrupted(made.name)
    assert left is not None
    assert left.undoing
    run_ltk("apply", made.name)
    expanded = str(
        paths.expanded(made.name)
    )  # which tells for which texts it stands, now for that of the name
    after = twenty.everything(made)
    assert twenty.differences(before, after | {expanded: before[expanded]}) == []
