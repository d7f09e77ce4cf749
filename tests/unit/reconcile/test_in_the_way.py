"""What stands in the way of what is wanted, and what of it can be taken over."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ltk.errors import InTheWayError
from ltk.reconcile.adopt import adoptions
from ltk.reconcile.drift import _without
from ltk.reconcile.observe import Observation
from ltk.reconcile.plan import Update, in_the_way, plan
from ltk.reconcile.resources import DEVICE, Bridge, End, Namespace, Resource, Route, State, Veth, state_of

SCOPE, OTHER = "ltk-t-a", "ltk-t-b"
NETWORK = ip_network("10.1.0.0/16")
NAMESPACE = Namespace(SCOPE, "t")
ROUTE = Route(SCOPE, NETWORK, "ltk0")
THEIRS = Route(SCOPE, NETWORK, "eth0")
BRIDGE = Bridge(SCOPE, "lan", 1500)
CABLE = Veth(End(SCOPE, "eth0", 1500), End(OTHER, "a", 1500))


def look(*foreign: Resource, have: State | None = None) -> Observation:
    """An observation in which these are somebody else's, as they are."""
    return Observation(have or {}, {each.key: f"{each} of theirs" for each in foreign}, state_of([*foreign]))


def test_a_device_of_the_name_of_a_cables_end_is_in_its_way() -> None:
    place = (DEVICE, OTHER, "a")
    foreign = {place: "the device a", (DEVICE, OTHER, "b"): "another one"}
    assert in_the_way(state_of([CABLE]), {}, foreign) == {place: CABLE.key}
    with pytest.raises(InTheWayError, match="the device a"):
        plan(state_of([CABLE]), {}, foreign)


def test_beside_what_is_there_anybody_may_have_what_they_like() -> None:
    have = state_of([ROUTE])
    assert in_the_way(state_of([ROUTE]), have, {ROUTE.key: "one appended to it"}) == {}
    assert in_the_way(state_of([ROUTE]), {}, {Route(SCOPE, NETWORK, "eth0", metric=7).key: "another"}) == {}


def test_what_is_taken_over_is_named_as_it_is_and_as_it_will_be_namespaces_first() -> None:
    want = state_of([ROUTE, BRIDGE, NAMESPACE])
    found = adoptions(want, look(THEIRS, NAMESPACE))
    assert [(type(each), each.resource) for each in found] == [(Update, NAMESPACE), (Update, ROUTE)]
    assert isinstance(found[1], Update)
    assert found[1].have == THEIRS
    assert "taken over" in found[1].reason


def test_of_what_cannot_be_taken_over_all_is_named() -> None:
    want = state_of([CABLE, BRIDGE, ROUTE])
    seen = look(THEIRS)
    seen.foreign.update({(DEVICE, SCOPE, "eth0"): "the device eth0", BRIDGE.key: "the device lan"})
    with pytest.raises(
        InTheWayError, match=r"the device lan; the device eth0|the device eth0; the device lan"
    ):
        adoptions(want, seen)


def test_a_repair_leaves_out_what_is_in_the_way_and_all_that_is_in_such_a_namespace() -> None:
    elsewhere = Bridge("ltk-t-c", "lan", 1500)
    want = state_of([NAMESPACE, ROUTE, BRIDGE, CABLE, elsewhere])
    assert _without(want, [ROUTE.key]).keys() == want.keys() - {ROUTE.key}
    assert [*_without(want, [NAMESPACE.key]).values()] == [elsewhere]
