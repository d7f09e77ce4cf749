"""What follows from what the network has shown, and from what was told beside it."""

from __future__ import annotations

import pytest

from ltk.topology.expected import Via
from ltk.verify.echo import Echoes
from ltk.verify.judge import objection
from ltk.verify.witness import Sighting, Way

CLIENTS = ("alice", "bob")


def seen(way: Way, answered: int = 10) -> Sighting:
    echoes = Echoes(10, set(range(answered)), dict.fromkeys(range(answered), 0.01))
    direct, relayed = way in (Way.DIRECT, Way.BOTH), way in (Way.RELAY, Way.BOTH)
    return Sighting(way, echoes, 20 * direct, 20 * relayed, 20 * relayed)


@pytest.mark.parametrize(
    ("wanted", "way", "told"),
    [
        (Via.DIRECT, Way.DIRECT, "direct"),
        (Via.RELAY, Way.RELAY, "relay"),
        (Via.ANY, Way.RELAY, "relay"),
        (Via.ANY, Way.BOTH, "direct"),
        (Via.ANY, Way.BOTH, "relay"),
    ],
)
def test_what_was_wanted_and_is_told_so_holds(wanted: Via, way: Way, told: str) -> None:
    assert objection(wanted, seen(way), (told, told), CLIENTS) is None


@pytest.mark.parametrize(
    ("wanted", "way", "told", "words"),
    [
        (Via.DIRECT, Way.RELAY, "relay", "the data went by the relay"),
        (Via.RELAY, Way.DIRECT, "direct", "the data went directly"),
        (Via.DIRECT, Way.BOTH, "direct", "the data went both ways"),
        (Via.DIRECT, Way.RELAY, "direct", "the data went by the relay"),
    ],
)
def test_another_way_than_the_wanted_is_told_with_what_was_counted(
    wanted: Via, way: Way, told: str, words: str
) -> None:
    said = objection(wanted, seen(way), (told, told), CLIENTS)
    assert said is not None
    assert said.startswith(words)
    assert "went from client to client" in said


@pytest.mark.parametrize("told", [("direct", "relay"), ("relay", "direct"), ("none", "relay")])
@pytest.mark.parametrize("wanted", [Via.RELAY, Via.ANY])
def test_a_status_that_lies_is_a_failure_too(wanted: Via, told: tuple[str, str]) -> None:
    liar = CLIENTS[0] if told[0] != "relay" else CLIENTS[1]
    lie = told[CLIENTS.index(liar)]
    said = objection(wanted, seen(Way.RELAY), told, CLIENTS)
    assert said == f"the data went by the relay, but the status of {liar} says {lie}"


def test_what_does_not_come_back_has_no_way() -> None:
    said = objection(Via.ANY, seen(Way.NONE, answered=3), ("direct", "direct"), CLIENTS)
    assert said == "3 of 10 datagrams arrived, 3 came back"
