"""What the benchmark makes of what it sees: rates without loss, ratios, tables, goals."""

from __future__ import annotations

from pathlib import Path

import machine
import pytest
from bars import bars
from measures import LOSS_LIMIT, UDP_RANGE, UDP_STEPS, Trial, fastest_without_loss
from report import BEGIN, DOCUMENT, END, markdown, ratios_of, write_document

from ltk.errors import MissingError

STEP = UDP_RANGE ** (1 / 2**UDP_STEPS)  # how near the search comes, as a factor


def channel(capacity: float, most: float):
    """A way that loses what exceeds its capacity, and a sender that can send so many a second at most."""
    rates: list[float] = []

    def trial(rate: float | None) -> Trial:
        sent = most if rate is None else min(rate, most)
        rates.append(sent)
        return Trial(sent, min(sent, capacity))

    return trial, rates


@pytest.mark.parametrize("capacity", [9_000.0, 42_000.0, 123_456.0, 399_000.0])
def test_the_capacity_of_a_way_is_found_to_within_a_step(capacity: float) -> None:
    trial, rates = channel(capacity, most=400_000.0)
    found = fastest_without_loss(trial)
    assert capacity / STEP <= found <= capacity * (1 + LOSS_LIMIT)
    assert len(rates) <= UDP_STEPS + 1


def test_where_nothing_is_lost_at_full_speed_that_is_the_rate() -> None:
    trial, rates = channel(1e6, most=50_000.0)
    assert fastest_without_loss(trial) == 50_000.0
    assert len(rates) == 1


def test_where_everything_is_lost_the_rate_is_nothing() -> None:
    trial, _ = channel(0.0, most=50_000.0)
    assert fastest_without_loss(trial) == 0.0


@pytest.mark.parametrize(("lost", "without"), [(4, True), (6, False)])
def test_half_a_percent_is_the_limit(lost: int, without: bool) -> None:
    assert Trial(1000.0, 1000.0 - lost).is_without_loss is without


def result(**tools: list[float]) -> dict:
    """A run in which tools had these TCP rates, round by round."""
    names = {name: name.replace("_", " ") for name in tools}
    return {
        "machine": {"kernel": "Linux", "load before": "0.10"},
        "options": {"rounds": 2, "seconds": 1},
        "tools": [
            {"name": name, "about": "", "version": "1", "state": "yes"}
            for name in [*names.values(), "tinc"]  # which has no values
        ],
        "rounds": [
            {"round": number, "tool": names[tool], "values": {"tcp1_mbit": rate}}
            for tool, rates in tools.items()
            for number, rate in enumerate(rates, start=1)
        ],
        "labs": [],
        "core": [],
        "crowd": [],
        "help_s": [],
        "failed": [],
    }


def test_ratios_are_those_within_a_round() -> None:
    run = result(ltk_direct=[100.0, 10.0], openvpn=[50.0, 5.0])
    assert ratios_of(run, "ltk direct", "openvpn", "tcp1_mbit") == [2.0, 2.0]


def test_a_round_that_one_of_both_has_missed_has_no_ratio() -> None:
    run = result(ltk_direct=[100.0, 10.0], openvpn=[50.0])
    assert ratios_of(run, "ltk direct", "openvpn", "tcp1_mbit") == [2.0]


def test_a_goal_is_measured_against_the_best_of_the_others_in_each_round() -> None:
    run = result(ltk_direct=[400.0, 400.0], openvpn=[100.0, 50.0], nebula=[50.0, 100.0])
    (line,) = [bar for bar in bars(run) if bar.what.startswith("TCP, one stream")]
    assert line.reached == "4.00× (4.00–4.00)"
    assert line.verdict == "reached"


def test_a_goal_that_was_missed_says_by_how_much() -> None:
    run = result(ltk_direct=[700.0], openvpn=[400.0])
    (line,) = bars(run)
    assert line.verdict == "0.50 of the bar"


def test_tables_tell_the_median_and_the_spread_and_what_is_missing() -> None:
    told = markdown(result(ltk_direct=[1000.0, 3000.0, 1500.0]))
    assert "| ltk direct | 1,500 (1,000–3,000)" in told
    assert "| –" in told, "no other metric was measured"


def test_a_run_on_a_busy_machine_says_so() -> None:
    run = result(ltk_direct=[1.0])
    assert "at other work" not in markdown(run)
    run["machine"]["load before"] = "3.00"
    assert "at other work" in markdown(run)


def test_a_tool_that_cannot_be_installed_is_absent_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = tmp_path / "ci" / "install"
    installer.parent.mkdir()
    installer.write_text("#!/bin/sh\necho there is no $2 >&2\nexit 6\n")
    installer.chmod(0o755)
    monkeypatch.setattr(machine, "REPOSITORY", tmp_path)
    with pytest.raises(MissingError, match="there is no carrier-pigeon:pigeons"):
        machine.need({"carrier-pigeon": "pigeons"})
    machine.need({"sh": "dash"})  # nobody is asked for what is there


def test_the_document_takes_a_run_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):  # again as well
        write_document(result(ltk_direct=[1.0]), path)
        text = path.read_text()
        assert text.startswith(f"before\n{BEGIN}\n")
        assert text.endswith(f"{END}\nafter\n")
        assert "old" not in text
        assert text.count("### Streams") == 1


def test_the_document_has_a_run() -> None:
    _, _, rest = DOCUMENT.read_text().partition(BEGIN)
    told, end, _ = rest.partition(END)
    assert end
    assert "### What was aimed at" in told
