"""Some of the other tests once more, on daemons that do everything packet by packet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import test_direct_paths
import test_quickstart
import test_traffic
from harness import Lab
from test_bulk import Exchange

SIZE = 20_000_000  # bytes
OFF = "offloads: off, as LTK_OFFLOADS says"


@pytest.fixture
def lab(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lab]:
    """As everywhere, but with every offload off, which the daemons say."""
    monkeypatch.setenv("LTK_OFFLOADS", "off")

    def make(yaml: str, **options: Any) -> Lab:
        made = lab(yaml, **options)
        daemons = len(made.status()["nodes"])
        assert made.logs().count(OFF) == daemons > 0, "they are not off"
        return made

    return make


def name_of(test: Callable[..., None]) -> str:
    return test.__name__.removeprefix("test_")


@pytest.mark.parametrize(
    "holds",
    [
        test_quickstart.test_the_underlay_carries_nothing_but_the_tunnels_udp,
        test_traffic.test_a_thousand_pings_of_every_size_pass_whole,
    ],
    ids=name_of,
)
def test_without_offloads_it_holds_on_the_quickstart(holds: Callable[..., None], quickstart: Lab) -> None:
    holds(quickstart)


@pytest.mark.parametrize(
    "holds",
    [
        test_direct_paths.test_two_homes_become_direct_within_a_second_and_no_ping_is_lost,
        test_direct_paths.test_a_killed_server_costs_a_direct_pair_nothing,
    ],
    ids=name_of,
)
def test_without_offloads_it_holds_between_homes(holds: Callable[..., None], lab: Callable[..., Lab]) -> None:
    holds(lab)


def test_without_offloads_bulk_arrives_whole_in_both_directions(quickstart: Lab) -> None:
    Exchange(quickstart, "alice", "bob", "10.0.0.3", SIZE).finish()
