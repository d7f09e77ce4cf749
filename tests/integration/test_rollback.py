"""An apply that fails leaves all as it was, whichever operation it is that fails."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from typing import NoReturn

import pytest
import twenty
from cut_short import REFUSED, chosen, cut_short, refuse
from echoes import undisturbed
from harness import Lab, machine_state, run_ltk
from test_reconcile import THREE, WITH_CAROL

from ltk.errors import LtkError, RolledBackError
from ltk.kernel import netns, paths
from ltk.reconcile import execute
from ltk.reconcile.apply import converge, preview
from ltk.reconcile.journal import read
from ltk.reconcile.plan import Operation
from ltk.reconcile.resources import Namespace
from ltk.topology.expanded import Topology
from ltk.topology.load import load_topology


def quiet(_: Operation) -> None:
    """Nobody listens."""


@pytest.fixture
def topology(lab: Callable[..., Lab]) -> tuple[Lab, Topology]:
    """The lab of twenty sites, not up."""
    made = lab(twenty.TWENTY, apply=False)
    return made, load_topology(str(made.path))


def test_a_first_apply_that_fails_leaves_nothing(topology: tuple[Lab, Topology]) -> None:
    lab, wanted = topology
    before = machine_state()
    operations = preview(wanted)
    assert len(operations) > 500
    for number in chosen(operations):
        with pytest.raises(RolledBackError) as caught, cut_short(number, refuse):
            converge(wanted, quiet)
        assert f"doing {operations[number]}: {REFUSED}" in str(caught.value)
        assert twenty.everything(lab) == {}, number
    assert machine_state() == before
    converge(wanted, quiet)
    assert preview(wanted) == []


def test_a_change_that_fails_leaves_all_as_it_was_and_disturbs_nobody(
    topology: tuple[Lab, Topology],
) -> None:
    lab, wanted = topology
    converge(wanted, quiet)
    assert lab.ping("client-01", "10.90.0.1")["received"] == 3
    before = twenty.everything(lab)
    lab.rewrite(twenty.OTHER)
    other = load_topology(str(lab.path))
    operations = preview(other)
    assert {each.action for each in operations} == {"create", "update", "remove"}
    with undisturbed(lab, "client-02", "10.90.0.1"):
        for number in chosen(operations):
            with pytest.raises(RolledBackError), cut_short(number, refuse):
                converge(other, quiet)
            assert twenty.differences(before, twenty.everything(lab)) == [], operations[number]
    assert preview(wanted) == []
    converge(other, quiet)
    assert preview(other) == []


def intruder(lab: Lab, kind: str, *words: str) -> Callable[[Operation], None]:
    """Somebody who does something of their own inside of the lab, as soon as what is of that kind is made."""
    left = [words]

    def meanwhile(operation: Operation) -> None:
        if operation.resource.kind == kind and left:
            left.pop()
            subprocess.run(words, check=True)

    return meanwhile


REAL = {
    "a device's name is taken": ("namespace", "ip -n ltk-twenty-client-07 link add eth0 type bridge"),
    "a device goes": ("cable", "ip -n ltk-twenty-client-07 link del eth0"),
    "a namespace goes": ("address", "ip netns del ltk-twenty-home-03"),
    "a route is there already": (
        "address",
        "ip -n ltk-twenty-home-05 route add default via 198.18.0.1 dev wan onlink",
    ),
    "a route goes, which is seen when all is done": (
        "daemon",
        "ip -n ltk-twenty-client-09 route del default",
    ),
}


@pytest.mark.parametrize("what", REAL)
def test_what_really_goes_wrong_is_undone(what: str, topology: tuple[Lab, Topology]) -> None:
    lab, wanted = topology
    kind, words = REAL[what]
    with pytest.raises(RolledBackError):
        converge(wanted, intruder(lab, kind, *words.split()))
    assert twenty.everything(lab) == {}


def test_what_cannot_be_undone_is_told_and_the_next_apply_goes_on_from_there(
    topology: tuple[Lab, Topology],
) -> None:
    lab, wanted = topology

    def refuse_for_good(operation: Operation) -> NoReturn:
        """From here on no namespace goes, which is what undoing begins with."""
        execute._DOERS[Namespace] = lambda _, operations: refuse(operations[0])
        refuse(operation)

    said = "not all of what had been done could be undone"
    with pytest.raises(LtkError, match=said) as caught, cut_short(300, refuse_for_good):
        converge(wanted, quiet)
    assert caught.value.exit_status == 1
    assert caught.value.hint is not None
    assert f"ltk destroy {lab.name}" in caught.value.hint
    left = read(paths.journal(lab.name))
    assert left is not None
    assert left.undoing
    assert converge(wanted, quiet).notes == (f"{left}; this run goes on from there",)
    assert preview(wanted) == []
    assert not paths.journal(lab.name).exists()


def test_a_command_whose_apply_was_undone_says_so_and_exits_with_5(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    before = twenty.everything(made)
    made.rewrite(WITH_CAROL.replace("hub: {role", 'hub: {metrics: "127.0.0.1:9586", role'))
    with netns.inside(made.scope("hub")):
        taken = socket.create_server(("127.0.0.1", 9586))
    with taken:
        done = run_ltk("apply", str(made.path), status=5)
    assert "9586" in done.stderr
    assert "all is as it was before" in done.stderr
    assert twenty.differences(before, twenty.everything(made)) == []
    made.apply()
    assert made.ping("carol", "10.61.0.1")["received"] == 3


def test_a_second_run_at_the_same_time_is_told_who_is_at_work(topology: tuple[Lab, Topology]) -> None:
    lab, wanted = topology
    said = []

    def meanwhile(_: Operation) -> None:
        if not said:
            said.append(run_ltk("apply", str(lab.path), status=7).stderr)

    converge(wanted, meanwhile)
    assert f"process {os.getpid()} is at work on it" in said[0]
