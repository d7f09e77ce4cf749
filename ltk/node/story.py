"""What a node without a topology tells the person who started it: one line for what matters, as it happens.

Pure: events go in, sentences come out. What a daemon logs of every event is in report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ltk.node.report import describe, endpoint_text
from ltk.protocol.engine import Endpoint, Relay
from ltk.protocol.events import (
    AttemptFailed,
    EndpointChanged,
    Event,
    GoodbyeReceived,
    HandshakeCompleted,
    HandshakeGaveUp,
    HandshakeUnanswered,
    NatClassified,
    Observed,
    PathChanged,
    PeerStatus,
    SessionErased,
)

Look = Callable[[str], PeerStatus | None]

TURNS = 4  # moves back and forth of one client in TURNS_WITHIN seconds that no NAT makes
TURNS_WITHIN = 60.0


class ServersStory:
    """What a server tells of its clients, which are named by their addresses."""

    def __init__(self, look: Look) -> None:
        """`look(name)` is the present state of a peer."""
        self._look = look
        self._present: set[str] = set()
        self._moves: dict[str, deque[tuple[float, Endpoint]]] = {}
        self._weary_until: dict[str, float] = {}  # of a client that is at two places by turns

    def tell(self, event: Event, now: float) -> list[str]:
        """Return what there is to say of the event, in order."""
        match event:
            case HandshakeCompleted(peer) if peer not in self._present:
                self._present.add(peer)
                return [f"{peer} has joined{self._place(peer)}"]
            case EndpointChanged(peer, Endpoint() as old, new) if peer in self._present:
                if now < self._weary_until.get(peer, now):
                    return []
                moved = f"{peer} has moved from {endpoint_text(old)} to {endpoint_text(new)}"
                return [moved, *self._suspicion(peer, new, now)]
            case GoodbyeReceived(peer) if peer in self._present:
                self._present.discard(peer)
                return [f"{peer} has left"]
            case SessionErased(peer) if peer in self._present:
                self._present.discard(peer)
                return [f"{peer} is lost: nothing was heard of it for minutes"]
            case _:
                return []

    def _place(self, peer: str) -> str:
        status = self._look(peer)
        known = status is not None and status.endpoint is not None
        return f", seen at {endpoint_text(status.endpoint)}" if known and status and status.endpoint else ""

    def _suspicion(self, peer: str, new: Endpoint, now: float) -> list[str]:
        """Two clients with one address have one key: each takes over from the other, again and again."""
        moves = self._moves.setdefault(peer, deque(maxlen=TURNS))
        moves.append((now, new))
        places = {place for _, place in moves}
        if len(moves) < TURNS or len(places) > TURNS // 2 or now - moves[0][0] > TURNS_WITHIN:
            return []
        moves.clear()
        self._weary_until[peer] = now + TURNS_WITHIN
        both = " and ".join(sorted(endpoint_text(place) for place in places))
        return [f"{peer} is at {both} by turns: do two clients have that address? One has to choose another"]


class ClientsStory:
    """What a client tells of its server and of the other clients, which are named by their addresses."""

    def __init__(self, look: Look, server: str, at: str) -> None:
        """`look(name)` is a peer's present state; `server` is the server's name, `at` its place as typed."""
        self._look = look
        self._server = server
        self._at = at
        self._reached = False
        self._silent_since: float | None = None
        self._observed: Endpoint | None = None
        self._present: set[str] = set()

    def tell(self, event: Event, now: float) -> list[str]:
        """Return what there is to say of the event, in order."""
        match event:
            case HandshakeCompleted(peer) | HandshakeUnanswered(peer) | GoodbyeReceived(peer):
                return self._of_server(event, now) if peer == self._server else self._of_client(peer, event)
            case Observed(endpoint):
                return self._observed_as(endpoint)
            case NatClassified():
                return [describe(event)]
            case PathChanged(peer):
                return self._path(event)
            case AttemptFailed(peer, _, reason, retry_in) if peer in self._present:
                return [f"no direct path to {peer}: {reason}; next try in {retry_in:.0f} s"]
            case HandshakeGaveUp(peer, dropped) if peer != self._server:
                waiting = f"; {dropped} waiting packets dropped" if dropped else ""
                return [f"no answer from {peer}: perhaps nobody has that address now{waiting}"]
            case SessionErased(peer) if peer in self._present:
                self._present.discard(peer)
                return [f"{peer} is lost: nothing was heard of it for minutes"]
            case _:
                return []

    def _of_server(self, event: Event, now: float) -> list[str]:
        match event:
            case HandshakeCompleted() if not self._reached and self._observed is not None:
                self._reached, self._silent_since = True, None
                return [f"server reached again, at {self._at}"]
            case HandshakeUnanswered(_, seconds):
                return [self._silence(seconds, now)]
            case GoodbyeReceived() if self._reached:
                self._reached, self._silent_since = False, now
                return ["server stopped, as it says; waiting for it"]
            case _:
                return []

    def _silence(self, seconds: float, now: float) -> str:
        lost, self._reached = self._reached, False
        if self._silent_since is not None:
            return f"still no answer from {self._at} after {now - self._silent_since:.0f} s; asking on"
        self._silent_since = now - seconds
        if lost:
            return f"server lost: no answer from {self._at} for {seconds:.0f} s; asking on"
        return (
            f"no answer from {self._at} after {seconds:.0f} s: it is not running or cannot be reached, or "
            f"the secret, the subnet or its tunnel address ({self._server} is expected) differs; asking on"
        )

    def _observed_as(self, endpoint: Endpoint) -> list[str]:
        before, self._observed = self._observed, endpoint
        seen = endpoint_text(endpoint)
        if before is None:
            self._reached, self._silent_since = True, None
            return [f"server reached, observed as {seen}"]
        return [f"observed as {seen} now, was {endpoint_text(before)}"]

    def _of_client(self, peer: str, event: Event) -> list[str]:
        match event:
            case HandshakeCompleted() if peer not in self._present:
                self._present.add(peer)
                status = self._look(peer)
                relayed = status is not None and status.path == "relay"
                return [f"{peer} reached, relayed through the server"] if relayed else []
            case GoodbyeReceived() if peer in self._present:
                self._present.discard(peer)
                return [f"{peer} has left"]
            case _:
                return []

    def _path(self, event: PathChanged) -> list[str]:
        peer = event.peer
        match event.old, event.new:
            case Endpoint(), Endpoint() as new:
                return [f"direct path to {peer} moved to {endpoint_text(new)}: {event.reason}"]
            case _, Endpoint():
                self._present.add(peer)
                return [f"direct path to {peer} established{self._round_trip(peer)}"]
            case Endpoint(), Relay() if peer in self._present:
                return [f"direct path to {peer} lost, {event.reason}: relayed through the server"]
            case Endpoint(), None if peer in self._present:
                return [f"direct path to {peer} lost, {event.reason}, and there is no other"]
            case _:
                return []

    def _round_trip(self, peer: str) -> str:
        status = self._look(peer)
        if status is None or status.rtt is None:
            return ""
        milliseconds = status.rtt * 1000
        return f", {milliseconds:.0f} ms" if milliseconds >= 10 else f", {milliseconds:.1f} ms"
