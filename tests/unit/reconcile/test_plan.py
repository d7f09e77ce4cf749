"""Plans hold between any two states: they lead where they should, in an order that can be executed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_states import HOSTS, ROUTERS, TOPOLOGY, Kernel, states

from ltk.errors import InTheWayError
from ltk.reconcile.plan import Create, Remove, Update, difference, plan, restrict
from ltk.reconcile.resources import (
    Address,
    Bridge,
    Daemon,
    End,
    Key,
    Namespace,
    Resource,
    Route,
    Ruleset,
    Secret,
    Setting,
    State,
    Stray,
    Tun,
    Veth,
    state_of,
)

HOST, ROUTER = HOSTS[0], ROUTERS[0]
CABLE = Veth(End(HOST, "eth0", 1500), End(ROUTER, "h0", 1500, master="lan"))


def daemon(**config: object) -> Daemon:
    return Daemon(HOST, "h0", {"peers": [], **config}, "KEY", {})


@given(states())
def test_where_all_is_as_wanted_there_is_nothing_to_do(state: State) -> None:
    assert plan(state, dict(state)) == []


@given(states(), states(leftovers=True))
def test_carrying_out_a_plan_leads_to_what_is_wanted(want: State, have: State) -> None:
    kernel = Kernel(dict(have))
    kernel.run(plan(want, kernel.observed(want)))  # the kernel refuses what comes in a wrong order
    assert kernel.observed(want) == want
    assert plan(want, kernel.observed(want)) == []


@given(states(leftovers=True))
def test_wanting_nothing_removes_everything(have: State) -> None:
    kernel = Kernel(dict(have))
    kernel.run(plan({}, kernel.observed({})))
    assert kernel.observed({}) == {}


@given(states(everywhere=True), states(everywhere=True))
def test_the_inverses_in_reverse_order_restore_what_was(want: State, have: State) -> None:
    kernel = Kernel(dict(have))
    operations = plan(want, kernel.observed(want))
    kernel.run(operations)
    kernel.run([operation.inverse() for operation in reversed(operations)])
    settings = {key: each for key, each in kernel.state.items() if isinstance(each, Setting)}
    assert {key: each for key, each in kernel.state.items() if key not in settings or key in have} == have


@given(states(), states(leftovers=True))
def test_a_plan_names_nothing_twice_and_nothing_that_is_as_wanted(want: State, have: State) -> None:
    operations = plan(want, have)
    made = [each.resource.key for each in operations if not isinstance(each, Remove)]
    removed = [each.resource.key for each in operations if isinstance(each, Remove)]
    assert len(set(made)) == len(made)
    assert len(set(removed)) == len(removed)
    same = {key for key in want.keys() & have.keys() if want[key] == have[key]}
    with_device = {each.resource.key for each in operations if each.reason == "goes with its device"}
    assert (same - with_device).isdisjoint([*made, *removed])


@given(states(), states(leftovers=True))
def test_every_operation_says_why(want: State, have: State) -> None:
    assert all(each.reason for each in plan(want, have))


@given(states(), st.data())
def test_what_stands_where_we_would_write_is_refused(want: State, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(want))) if want else None
    if key is None:
        return
    with pytest.raises(InTheWayError, match="that thing") as caught:
        plan(want, {}, {key: "that thing"})
    assert caught.value.hint
    assert caught.value.exit_status == 4


@given(states(), states(leftovers=True), states())
def test_what_bears_no_mark_is_neither_touched_nor_taken_over(want: State, have: State, other: State) -> None:
    foreign = {key: f"somebody's {each}" for key, each in other.items() if key not in have}
    in_the_way = want.keys() & foreign.keys()
    assert is_refused(want, have, foreign) is bool(in_the_way), f"in the way: {in_the_way}"
    rest = {key: each for key, each in want.items() if key not in foreign}
    assert {each.resource.key for each in plan(rest, have, foreign)}.isdisjoint(foreign)


def is_refused(want: State, have: State, foreign: dict[Key, str]) -> bool:
    try:
        plan(want, have, foreign)
    except InTheWayError:
        return True
    return False


@given(states(), states())
def test_what_stands_elsewhere_is_nobodys_business(want: State, have: State) -> None:
    elsewhere = {Namespace("ltk-t-other", TOPOLOGY).key: "a namespace of somebody's"}
    assert plan(want, have, elsewhere) == plan(want, have)


@given(states(leftovers=True), st.sets(st.sampled_from([*ROUTERS, *HOSTS])))
def test_a_restricted_state_lies_wholly_inside(state: State, scopes: set[str]) -> None:
    kept = restrict(state, scopes)
    assert kept == {key: each for key, each in state.items() if set(each.scopes) <= scopes}


@given(states(), states(leftovers=True), st.sets(st.sampled_from([*ROUTERS, *HOSTS])))
def test_a_restricted_plan_touches_nothing_outside(want: State, have: State, scopes: set[str]) -> None:
    operations = plan(restrict(want, scopes), restrict(have, scopes))
    assert {scope for each in operations for scope in each.resource.scopes} <= scopes


@pytest.mark.parametrize(
    ("have", "want", "words"),
    [
        (Bridge(ROUTER, "lan", 1280), Bridge(ROUTER, "lan", 1500), "mtu is 1280, should be 1500"),
        (Tun(HOST, "ltk0", 1380, up=False), Tun(HOST, "ltk0", 1380), "up is False, should be True"),
        (Namespace(HOST, TOPOLOGY, False), Namespace(HOST, TOPOLOGY), "loopback_up is False"),
        (Setting(HOST, "net.a", "0"), Setting(HOST, "net.a", "1"), "value is 0, should be 1"),
        (
            Route(HOST, ip_network("10.9.0.0/16"), "eth0", "10.0.0.9"),
            Route(HOST, ip_network("10.9.0.0/16"), "eth0", "10.0.0.1"),
            "gateway is 10.0.0.9, should be 10.0.0.1",
        ),
        (CABLE, replace(CABLE, b=replace(CABLE.b, master=None)), "master='lan'"),
        (Ruleset(HOST, ("a",)), Ruleset(HOST, ("b",)), "the rules differ"),
        (Secret("", "/k", "aa", "x"), Secret("", "/k", "bb", "y"), "fingerprint is aa, should be bb"),
        (replace(daemon(), running=False), daemon(), "its process does not run"),
        (replace(daemon(), attached=False), daemon(), "it has lost its device"),
        (daemon(listen=1), daemon(listen=2), "listen is 1, should be 2"),
        (daemon(), daemon(peers=[{"name": "bob"}]), "peer bob is missing"),
        (daemon(peers=[{"name": "bob"}]), daemon(), "peer bob is not in the topology any more"),
        (
            daemon(peers=[{"name": "bob", "keepalive": 1, "endpoint": "a:1"}]),
            daemon(peers=[{"name": "bob", "keepalive": 2, "endpoint": "a:2"}]),
            "peer bob: endpoint, keepalive",
        ),
        (daemon(), replace(daemon(), public_key="OTHER"), "a key has changed"),
        (daemon(), replace(daemon(), psk_ids={"bob": "12345678"}), "a key has changed"),
    ],
)
def test_the_reason_of_a_change_names_what_differs(have: Resource, want: Resource, words: str) -> None:
    assert have.key == want.key
    assert words in difference(have, want)
    (operation,) = plan({want.key: want}, {have.key: have})
    assert isinstance(operation, Update)
    assert words in operation.reason


def test_what_stands_on_a_device_that_goes_is_made_anew() -> None:
    """A host moves to a site where it has the same address and the same gateway, by another cable."""
    other = Veth(End(HOST, "eth0", 1500), End(ROUTERS[1], "h0", 1500, master="lan"))
    base: list[Resource] = [Namespace(scope, TOPOLOGY) for scope in (HOST, *ROUTERS)]
    address = Address(HOST, "eth0", ip_interface("192.168.1.2/24"))
    route = Route(HOST, ip_network("0.0.0.0/0"), "eth0", "192.168.1.1")
    operations = plan(state_of([*base, other, address, route]), state_of([*base, CABLE, address, route]))
    assert [(type(each), each.resource) for each in operations] == [
        (Remove, CABLE),
        (Create, other),
        (Create, address),
        (Create, route),
    ]


def test_a_route_that_moves_to_another_device_finds_its_old_one_gone() -> None:
    destination = ip_network("192.168.50.0/24")
    base = [Namespace(HOST, TOPOLOGY)]
    have = state_of([*base, Tun(HOST, "ltk0", 1380), Route(HOST, destination, "ltk0")])
    want = state_of([*base, Tun(HOST, "wg0", 1380), Route(HOST, destination, "wg0")])
    assert [str(each) for each in plan(want, have)] == [
        f"- tun ltk0 in {HOST}",
        f"+ tun wg0 in {HOST}",
        f"+ route 192.168.50.0/24 dev wg0 in {HOST}",
    ]


def test_a_device_never_goes_without_an_address_while_one_is_exchanged() -> None:
    """With the last address of a device the kernel takes away its routes."""
    base = [Namespace(HOST, TOPOLOGY), Tun(HOST, "ltk0", 1380)]
    old, new = (Address(HOST, "ltk0", ip_interface(text)) for text in ("10.0.0.2/24", "10.0.0.9/24"))
    operations = plan(state_of([*base, new]), state_of([*base, old]))
    assert operations == [Create(new, "wanted and missing"), Remove(old, "not in the topology any more")]


def test_a_cable_into_a_namespace_that_stays_is_named() -> None:
    stays = [Namespace(ROUTER, TOPOLOGY), Bridge(ROUTER, "lan", 1500)]
    have = state_of([*stays, Namespace(HOST, TOPOLOGY), CABLE])
    assert [each.resource for each in plan(state_of(stays), have)] == [CABLE, Namespace(HOST, TOPOLOGY)]


def test_what_goes_with_its_namespace_is_not_named() -> None:
    inside = [Tun(HOST, "ltk0", 1380), Address(HOST, "ltk0", ip_interface("10.0.0.2/24"))]
    assert [each.resource for each in plan({}, state_of([Namespace(HOST, TOPOLOGY), *inside]))] == [
        Namespace(HOST, TOPOLOGY)
    ]


def test_a_half_made_device_is_removed_and_the_reason_says_whose_it_was() -> None:
    base: list[Resource] = [Namespace(HOST, TOPOLOGY)]
    (operation,) = plan(state_of(base), state_of([*base, Stray(HOST, "eth0")]))
    assert isinstance(operation, Remove)
    assert "stopped in the middle" in operation.reason


def test_the_ends_of_a_cable_may_be_named_in_any_order() -> None:
    assert Veth(CABLE.b, CABLE.a) == CABLE
    assert Veth(CABLE.b, CABLE.a).key == CABLE.key
