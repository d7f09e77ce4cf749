"""A site's link as a resource, and what a change of it means to the plan and to the process."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ltk.errors import InvalidInputError
from ltk.lab import sites
from ltk.lab.conditions import Span, Tap, from_json, span_of, to_json
from ltk.reconcile.plan import Create, Remove, Update, plan
from ltk.reconcile.resources import Address, Conditions, Route, State, Veth, Wire, state_of
from ltk.topology.load import parse_topology

FILE = """
name: t
network: {subnet: 10.0.0.0/24}
nodes: {hub: {role: server}, alice: {}}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: symmetric, hosts: [alice]%s}
"""
DELAYED = FILE % ", link: {delay: 20ms, jitter: 2ms, loss: 0.5%, seed: 3}"
SPAN = Span(Tap("one", "wan"), Tap("two", "home"), Conditions(delay=20_000))


def lab(text: str) -> State:
    topology = parse_topology(text.encode(), file="t.yaml", folder=Path("/"))
    assert topology.lab is not None
    return state_of(sites.resources("t", topology.lab))


def wires(state: State) -> list[Wire]:
    return [each for each in state.values() if isinstance(each, Wire)]


def test_a_site_with_a_link_hangs_on_a_wire_and_the_others_on_cables() -> None:
    state = lab(DELAYED)
    (wire,) = wires(state)
    assert [(end.scope, end.device) for end in (wire.a, wire.b)] == [
        ("ltk-t-home", "wan"),
        ("ltk-t-internet", "home"),
    ]
    assert wire.conditions == Conditions(delay=20_000, jitter=2_000, loss=5_000, seed=3)
    assert wires(lab(FILE % "")) == []
    cables = [each for each in state.values() if isinstance(each, Veth)]
    assert len(cables) == 3, "cloud's to the internet, and one for each host"


def test_a_host_with_a_link_hangs_on_a_wire_of_its_own() -> None:
    (wire,) = wires(
        lab((FILE % "").replace("hosts: [alice]", "hosts: {alice: {link: {rate: 2mbit, loss: 1%}}}"))
    )
    assert {(end.scope, end.device, end.master) for end in (wire.a, wire.b)} == {
        ("ltk-t-alice", "eth0", None),
        ("ltk-t-home", "alice", "lan"),
    }
    assert wire.conditions is not None
    assert (wire.conditions.rate, wire.conditions.loss) == (2_000_000, 10_000)


def test_an_empty_link_is_a_wire_without_conditions() -> None:
    (wire,) = wires(lab(FILE % ", link: {}"))
    assert wire.conditions is not None
    assert (wire.conditions.delay, wire.conditions.jitter, wire.conditions.loss) == (0, 0, 0)


def test_new_conditions_are_planned_as_just_that_and_said_in_words() -> None:
    (operation,) = plan(lab(DELAYED.replace("20ms", "30ms")), lab(DELAYED))
    assert isinstance(operation, Update)
    assert isinstance(operation.resource, Wire)
    assert operation.reason == (
        "conditions is 20ms ±2ms, 0.5% lost (seed 3), should be 30ms ±2ms, 0.5% lost (seed 3)"
    )


def test_what_stands_on_a_cable_is_made_again_when_a_wire_takes_its_place() -> None:
    have, want = lab(FILE % ""), lab(DELAYED)
    operations = plan(want, have)
    assert isinstance(operations[0], Remove)
    assert isinstance(operations[0].resource, Veth)
    created = [each.resource for each in operations[1:]]
    assert all(isinstance(each, Create) for each in operations[1:])
    places = {("ltk-t-home", "wan"), ("ltk-t-internet", "home")}
    on_the_cable = [
        each
        for each in want.values()
        if isinstance(each, Address | Route) and (each.scope, each.device) in places
    ]
    assert len(on_the_cable) == 3, "the router's address and route, and the way to it"
    assert created == [*wires(want), *sorted(on_the_cable, key=lambda each: (each.rank, each.key))]
    assert plan(have, want)[0].resource == wires(want)[0]


def test_the_process_is_told_what_the_wire_is() -> None:
    (wire,) = wires(lab(DELAYED))
    span = span_of(wire)
    assert span.ends == (Tap("ltk-t-home", "wan"), Tap("ltk-t-internet", "home"))
    document = json.loads(json.dumps(to_json([span])))
    assert from_json(document, "reading") == (span,)


def changed(**changes: Any) -> dict[str, Any]:
    document = to_json([SPAN])
    document["wires"][0] |= changes
    return document


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"version": 1, "wires": []},
        {"version": 2, "wires": {}},
        {"version": 2, "wires": [{}]},
        changed(a={"scope": "one"}),
        changed(conditions={"delay": 1}),
        changed(conditions=asdict(Conditions()) | {"delay": 1.5}),
        changed(conditions=asdict(Conditions()) | {"more": 0}),
    ],
    ids=str,
)
def test_a_document_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(InvalidInputError):
        from_json(document, "reading")
