"""What `ltk watch` prints of each thing that it has to say, for people and for programs."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from ltk.cli import watch
from ltk.errors import LtkError
from ltk.reconcile.plan import Create
from ltk.reconcile.resources import Route
from ltk.reconcile.vigil import Blocked, Contested, Drifted, Failed, Repaired, Righted, Said

ROUTE = Create(Route("ltk-t-a", ip_network("10.1.0.0/16"), "ltk0"), "wanted and missing")
CHANGE = {
    "action": "create",
    "resource": "route",
    "scope": "ltk-t-a",
    "name": "10.1.0.0/16",
    "reason": "wanted and missing",
}
SAID: list[tuple[Said, str, dict[str, object]]] = [
    (Drifted(ROUTE), "differs:  + route 10.1.0.0/16", {"event": "drift", **CHANGE}),
    (Righted(ROUTE), "right again:  route 10.1.0.0/16", {"event": "right-again", **CHANGE}),
    (
        Repaired((ROUTE,), 0.0721),
        "put right after 72 ms:  + route",
        {"event": "fixed", "after_s": 0.072, "changes": [CHANGE]},
    ),
    (Repaired((ROUTE, ROUTE), 0.5), "2 created", {"event": "fixed", "after_s": 0.5, "changes": [CHANGE] * 2}),
    (
        Contested(ROUTE, 3, 1.0),
        "put right 3 times, and somebody changes it back: left alone for 1 s",
        {"event": "contested", **CHANGE, "fixes": 3, "retry_s": 1.0},
    ),
    (Blocked("a route"), "in the way:  a route", {"event": "in-the-way", "problem": "a route"}),
    (
        Failed(LtkError("looking", "no", hint="Look."), 0.25),
        "failed:  looking: no  (trying again in 0.25 s)",
        {"event": "failed", "problem": "looking: no", "hint": "Look.", "retry_s": 0.25},
    ),
]


@pytest.mark.parametrize(("said", "words", "_event"), SAID)
def test_a_line_says_when_and_what(
    said: Said, words: str, _event: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    watch._print(said)
    printed = capsys.readouterr().out
    assert re.match(r"\d\d:\d\d:\d\d\.\d\d\d  ", printed)
    assert words in printed


@pytest.mark.parametrize(("said", "_words", "event"), SAID)
def test_a_line_of_json_says_the_same_and_is_described(
    said: Said, _words: str, event: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    watch._print_json(said)
    printed = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", printed.pop("time"))
    assert printed == {"version": 1, **event}
    described = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    assert f"| `{event['event']}` |" in described
