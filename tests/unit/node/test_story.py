"""What `ltk serve` and `ltk join` tell: one line for what matters, and nothing for the rest."""

from __future__ import annotations

from itertools import pairwise

from ltk.node.story import ClientsStory, ServersStory
from ltk.protocol.engine import Endpoint, PeerKind, Relay
from ltk.protocol.events import (
    AttemptFailed,
    AttemptStarted,
    EndpointChanged,
    Event,
    GoodbyeReceived,
    HandshakeCompleted,
    HandshakeGaveUp,
    HandshakeUnanswered,
    Observed,
    PathChanged,
    PeerRegistered,
    PeerStatus,
    SessionErased,
    Traffic,
)

SERVER, OTHER, AT = "10.0.0.1", "10.0.0.3", "hub.example.net:9000"
HERE, THERE = Endpoint("203.0.113.2", 41231), Endpoint("203.0.113.3", 5501)
ELSEWHERE = Endpoint("203.0.113.4", 7)
CHANNEL = Relay(77)


def status(path: str = "relay", rtt: float | None = None, endpoint: Endpoint | None = HERE) -> PeerStatus:
    return PeerStatus(
        name=OTHER,
        public_key=bytes(32),
        kind=PeerKind.CLIENT,
        endpoint=endpoint,
        handshake_age=0.0,
        tx_bytes=0,
        rx_bytes=0,
        tx_packets=0,
        rx_packets=0,
        direct=Traffic(),
        relayed=Traffic(),
        staged=0,
        is_ltk=True,
        sessions=1,
        path=path,  # type: ignore[arg-type]
        rtt=rtt,
        reason="",
        direct_attempts=0,
        direct_successes=0,
        direct_failures=0,
        switches=0,
        probes={},
    )


def client(seen: PeerStatus | None = None) -> ClientsStory:
    return ClientsStory(lambda _: seen, SERVER, AT)


def told(story: ClientsStory | ServersStory, *events: Event, every: float = 0.0) -> list[str]:
    return [line for number, event in enumerate(events) for line in story.tell(event, 100.0 + number * every)]


def test_a_server_that_answers_is_told_with_where_it_sees_the_client() -> None:
    reached = (PeerRegistered(SERVER), HandshakeCompleted(SERVER, True), Observed(HERE))
    assert told(client(), *reached) == ["server reached, observed as 203.0.113.2:41231"]


def test_silence_names_everything_that_can_be_the_reason() -> None:
    (line,) = told(client(), HandshakeUnanswered(SERVER, 5.2))
    assert line.startswith(f"no answer from {AT} after 5 s: ")
    for reason in ("not running", "cannot be reached", "secret", "subnet", SERVER):
        assert reason in line


def test_silence_that_goes_on_is_counted_from_its_start() -> None:
    silence = HandshakeUnanswered(SERVER, 5.0)
    lines = told(client(), silence, silence, silence, every=100.0)
    assert lines[1:] == [
        f"still no answer from {AT} after 105 s; asking on",
        f"still no answer from {AT} after 205 s; asking on",
    ]


def test_a_server_is_lost_and_found_again() -> None:
    story = client()
    told(story, HandshakeCompleted(SERVER, True), Observed(HERE))
    assert told(story, HandshakeCompleted(SERVER, True)) == [], "a rekey"
    assert told(story, HandshakeUnanswered(SERVER, 5.1)) == [
        f"server lost: no answer from {AT} for 5 s; asking on"
    ]
    assert told(story, HandshakeCompleted(SERVER, True)) == [f"server reached again, at {AT}"]
    assert told(story, Observed(ELSEWHERE)) == [
        "observed as 203.0.113.4:7 now, was 203.0.113.2:41231",
    ]
    assert told(story, GoodbyeReceived(SERVER)) == ["server stopped, as it says; waiting for it"]
    assert told(story, HandshakeCompleted(SERVER, True)) == [f"server reached again, at {AT}"]


def test_another_client_is_relayed_first_then_direct_then_relayed_again() -> None:
    story = client(status(rtt=0.0412))
    assert told(story, PathChanged(OTHER, None, CHANNEL, "")) == [], "a way alone reaches nobody"
    assert told(story, HandshakeCompleted(OTHER, True)) == [f"{OTHER} reached, relayed through the server"]
    assert told(story, AttemptStarted(OTHER, 1), PathChanged(OTHER, CHANNEL, THERE, "")) == [
        f"direct path to {OTHER} established, 41 ms"
    ]
    lost = PathChanged(OTHER, THERE, CHANNEL, "no probe was answered for 1.0 s")
    assert told(story, lost) == [
        f"direct path to {OTHER} lost, no probe was answered for 1.0 s: relayed through the server"
    ]
    assert told(story, AttemptFailed(OTHER, 2, "nothing came back", 10.0)) == [
        f"no direct path to {OTHER}: nothing came back; next try in 10 s"
    ]
    assert told(story, GoodbyeReceived(OTHER), PathChanged(OTHER, THERE, None, "it has stopped")) == [
        f"{OTHER} has left"
    ]


def test_attempts_at_reaching_nobody_are_no_news() -> None:
    failed = AttemptFailed(OTHER, 1, "no candidate is known", 5.0)
    assert told(client(), HandshakeUnanswered(SERVER, 5.0), failed)[1:] == []


def test_nobody_at_an_address_is_told() -> None:
    assert told(client(), HandshakeGaveUp(OTHER, 3)) == [
        f"no answer from {OTHER}: perhaps nobody has that address now; 3 waiting packets dropped"
    ]


def test_a_server_tells_who_comes_moves_leaves_and_is_lost() -> None:
    story = ServersStory(lambda _: status())
    assert told(story, EndpointChanged(OTHER, None, HERE)) == [], "it has proven nothing yet"
    assert told(story, HandshakeCompleted(OTHER, False)) == [f"{OTHER} has joined, seen at 203.0.113.2:41231"]
    assert told(story, HandshakeCompleted(OTHER, False)) == []
    assert told(story, EndpointChanged(OTHER, HERE, THERE)) == [
        f"{OTHER} has moved from 203.0.113.2:41231 to 203.0.113.3:5501"
    ]
    assert told(story, GoodbyeReceived(OTHER), SessionErased(OTHER)) == [f"{OTHER} has left"]
    told(story, HandshakeCompleted(OTHER, False))
    assert told(story, SessionErased(OTHER)) == [f"{OTHER} is lost: nothing was heard of it for minutes"]


def test_two_clients_with_one_address_are_told_of() -> None:
    story = ServersStory(lambda _: status())
    told(story, HandshakeCompleted(OTHER, False))
    turns = [EndpointChanged(OTHER, HERE, THERE), EndpointChanged(OTHER, THERE, HERE)] * 2
    lines = told(story, *turns, *turns, every=5.0)
    assert len(lines) == 5, "and then no more for a minute"
    assert lines[-1] == (
        f"{OTHER} is at 203.0.113.2:41231 and 203.0.113.3:5501 by turns: "
        "do two clients have that address? One has to choose another"
    )


def test_a_client_that_travels_is_not_taken_for_two() -> None:
    story = ServersStory(lambda _: status())
    told(story, HandshakeCompleted(OTHER, False))
    places = [Endpoint("203.0.113.2", port) for port in range(1, 10)]
    moves = [EndpointChanged(OTHER, old, new) for old, new in pairwise(places)]
    assert len(told(story, *moves, every=1.0)) == len(moves)
    slow = [EndpointChanged(OTHER, HERE, THERE), EndpointChanged(OTHER, THERE, HERE)] * 4
    assert len(told(story, *slow, every=60.0)) == len(slow)
