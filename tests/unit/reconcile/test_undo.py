"""From wherever a run has stopped, the way back leads to what was there before."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st
from random_states import HOSTS, ROUTERS, TOPOLOGY, Kernel, states

from ltk.reconcile.plan import plan
from ltk.reconcile.resources import (
    Address,
    Conditions,
    Daemon,
    End,
    Namespace,
    Route,
    Setting,
    State,
    Stray,
    Veth,
    Wire,
    state_of,
)
from ltk.reconcile.undo import Undo, aim, touched_by

HOST, ROUTER = HOSTS[0], ROUTERS[0]


def undo_of(have: State, want: State) -> Undo:
    """What a run from one to the other writes down, but for what only a machine can tell."""
    touched = touched_by(plan(want, have), have, want)
    was = tuple(have[key] for key in sorted(touched) if key in have)
    return Undo(touched, was, {}, (), supervised=True, nothing=False)


@given(states(), states(), st.data())
def test_a_run_that_stops_anywhere_is_undone(want: State, have: State, data: st.DataObject) -> None:
    kernel = Kernel(dict(have))
    undo = undo_of(kernel.observed(want), want)
    operations = plan(want, kernel.observed(want))
    kernel.run(operations[: data.draw(st.integers(0, len(operations)))])
    looked_at = {each.key: each for each in undo.was}
    now = kernel.observed(looked_at)
    kernel.run(plan(aim(undo, now), now))
    then = kernel.observed(looked_at)
    assert {key: each for key, each in then.items() if not isinstance(each, Setting)} == {
        key: each for key, each in have.items() if not isinstance(each, Setting)
    }
    assert plan(aim(undo, then), then) == []


@given(states(leftovers=True), states(leftovers=True))
def test_what_was_not_touched_is_left_as_it_is(want: State, have: State) -> None:
    undo = undo_of(have, have)
    assert undo.touched == frozenset()
    assert aim(undo, want) == want


def test_what_is_left_of_a_cable_makes_way_for_the_whole_with_all_that_stands_on_it() -> None:
    """The kernel takes the near end away some time after the namespace of the far one."""
    cable = Veth(End(HOST, "eth0", 1500), End(ROUTER, "h0", 1500))
    ends = (Namespace(HOST, TOPOLOGY), Namespace(ROUTER, TOPOLOGY))
    address = Address(HOST, "eth0", ip_interface("192.168.1.2/24"))
    route = Route(HOST, ip_network("0.0.0.0/0"), "eth0", "192.168.1.1")
    before = state_of([*ends, cable, address, route])
    undo = undo_of(before, {})
    kernel = Kernel(state_of([ends[0], Stray(HOST, "eth0"), address, route]))
    kernel.run(plan(aim(undo, kernel.state), kernel.state))
    assert kernel.state == before


def test_what_was_broken_is_not_broken_again() -> None:
    daemon = Daemon(HOST, "h0", {"listen": 1}, "KEY", {}, running=False, attached=False)
    wire = Wire(End(HOST, "eth0", 1500), End(ROUTER, "h0", 1500), None, carried=False)
    before = (daemon, wire, Stray(HOST, "half"))
    undo = Undo(frozenset(each.key for each in before), before, {}, (), supervised=True, nothing=False)
    runs = replace(daemon, config={"listen": 2}, running=True, attached=True)
    carried = replace(wire, conditions=Conditions(delay=3), carried=True)
    state = aim(undo, {each.key: each for each in (runs, carried)})
    assert state == {daemon.key: replace(runs, config={"listen": 1}), wire.key: carried}
    gone = aim(undo, {})
    assert gone == {
        daemon.key: replace(daemon, running=True, attached=True),
        wire.key: replace(wire, conditions=Conditions(), carried=True),
    }
