"""The report that other programs read."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from ltk.topology.expected import Check, Claim, Via
from ltk.verify.junit import junit
from ltk.verify.run import Result


def check(name: str) -> Check:
    return Check(name, Claim.REACH, ("a", "b"), Via.ANY, 1, None, None, (), None)


def test_the_report_has_what_readers_of_pytests_reports_look_for() -> None:
    results = [
        Result(check("a reaches b"), 0.25, None, {"rtt_ms": 2.5}),
        Result(check("a <does> \x00 not"), 1.5, "it ended & said:\n\x1b[31mno\x1b[0m"),
    ]
    xml = junit("home-office", results, datetime(2026, 1, 2, tzinfo=UTC), 2.0)
    (suite,) = ElementTree.fromstring(xml).iter("testsuite")
    assert {key: suite.attrib[key] for key in ("name", "tests", "failures", "errors", "skipped", "time")} == {
        "name": "home-office",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
        "time": "2.000",
    }
    assert suite.attrib["timestamp"] == "2026-01-02T00:00:00+00:00"
    first, second = suite.iter("testcase")
    assert first.attrib == {"classname": "ltk.home-office", "name": "a reaches b", "time": "0.250"}
    assert [(each.attrib["name"], each.attrib["value"]) for each in first.iter("property")] == [
        ("rtt_ms", "2.5")
    ]
    assert second.attrib["name"] == "a <does> ? not"
    (failure,) = second.iter("failure")
    assert failure.attrib["message"] == "it ended & said:"
    assert failure.text == "it ended & said:\n?[31mno?[0m"
