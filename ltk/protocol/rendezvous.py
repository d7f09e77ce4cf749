"""How clients find each other: what a client tells the server of itself, and whom the server introduces.

An announcement is soft state: the client repeats it until it is acknowledged, with growing gaps and for
ever, and every minute after that. So a server that starts late, restarts or loses its memory needs
nobody's help, and neither does a client that was announced before its NAT gave it another port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ltk.protocol import stun
from ltk.protocol.drops import Drop
from ltk.protocol.events import NatClassified, Observed
from ltk.protocol.frames import (
    MAX_CANDIDATES,
    Announce,
    AnnounceAck,
    Candidate,
    CandidateKind,
    Connect,
    Introduce,
    Nat,
    NatMapping,
    NotAvailable,
    ObservedAs,
    Reason,
)
from ltk.protocol.local import Local
from ltk.protocol.messages import MAIN_SOCKET, Endpoint
from ltk.protocol.peer import Peer
from ltk.protocol.ports import StepFinder
from ltk.protocol.session import Session
from ltk.protocol.timers import Timer, Timers

FIRST_RETRY = 1.0  # seconds until an announcement is repeated that was not acknowledged, doubled each time
LAST_RETRY = 32.0
RETRY_JITTER = 0.1  # of the wait, more or less
REFRESH = 60.0  # seconds until one is repeated that was

STUN_FIRST_RETRY = 0.5  # seconds, doubled each time (RFC 8489, section 6.2.1)
STUN_TRIES = 7  # RFC 8489: Rc


class Announcer:
    """The client's half: what it knows of its own endpoints, and whether the server knows it too."""

    __slots__ = (
        "_acknowledged",
        "_hosts",
        "_local",
        "_sequence",
        "_step_finder",
        "_stun_port",
        "_stun_tries",
        "_timers",
        "_transaction",
        "_tries",
        "acks",
        "attempts",
    )

    def __init__(self, local: Local) -> None:
        self._local = local
        self._timers = Timers(local.queue, self._on_timer)
        self._hosts: tuple[Endpoint, ...] = ()
        self._step_finder = StepFinder(local.questions, local.sockets, local.queue, self._step_found)
        self.attempts = self.acks = 0
        self._sequence = 0
        self._acknowledged = False
        self._tries = 0
        self._stun_port = 0
        self._stun_tries = 0
        self._transaction = b""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Where this node may be reached, as far as it knows."""
        seen = self._local.observed
        observed = [] if seen is None else [Candidate(CandidateKind.OBSERVED, seen)]
        hosts = [Candidate(CandidateKind.HOST, host) for host in self._hosts if host != seen]
        if seen is not None and seen in self._hosts:
            observed = [Candidate(CandidateKind.HOST, seen)]
        return (*observed, *hosts)[:MAX_CANDIDATES]

    def set_hosts(self, endpoints: tuple[Endpoint, ...], now: float) -> bool:
        """Take this node's own endpoints; announce and return whether that changes anything."""
        usable = tuple(each for each in endpoints if self._local.is_outside(each))
        if usable == self._hosts:
            return False
        self._hosts = usable
        self._classify(self._local.nat)
        self._changed(now)
        return True

    def observed_as(self, frame: ObservedAs, now: float) -> bool:
        """Take what the server sees; announce and return whether that changes anything."""
        is_news = frame.endpoint != self._local.observed
        if is_news or frame.stun_port != self._stun_port:
            self._local.observed, self._stun_port = frame.endpoint, frame.stun_port
            self._step_finder.stop()
            self._classify(Nat())
            self._ask_stun_anew(now)
        if is_news:
            self._local.outbox.events.append(Observed(frame.endpoint))
            self._changed(now)
        return is_news

    def unseen(self, now: float) -> bool:
        """Forget what the server saw, since UDP does not get there; return whether that changes anything."""
        if self._local.observed is None:
            return False
        self._local.observed = None
        self._local.stun_targets = ()
        self._stun_port = 0
        self._step_finder.stop()
        self._classify(Nat())
        self._changed(now)
        return True

    # Announcements.

    def announce(self, now: float) -> None:
        """Tell the server at once: there is a new session with it, or something to tell."""
        self._tries = 0
        self._acknowledged = False
        self._announce(now)

    def _changed(self, now: float) -> None:
        self._sequence += 1
        self.announce(now)

    def acknowledged(self, frame: AnnounceAck, now: float) -> Drop | None:
        """Stop repeating what the server has stored."""
        if frame.sequence != self._sequence or self._acknowledged:
            return Drop.UNASKED_REPLY
        self.acks += 1
        if self._local.observed is None and not self._is_behind_a_stream:
            return None  # what came with this was lost: where the server sees this node; the next one tells
        self._acknowledged = True
        self._timers.arm(Timer.ANNOUNCE, now + self._jittered(REFRESH))
        return None

    def _announce(self, now: float) -> None:
        server = self._local.server
        frame = Announce(self._sequence, self._local.nat, self.candidates)
        if server is None or not server.speaks_ltk or not server.say(frame, now):
            return  # `announce` is called when there is a session
        server.expect_answer(now)
        self.attempts += 1
        wait = min(FIRST_RETRY * 2**self._tries, LAST_RETRY)
        self._tries += 1
        self._timers.arm(Timer.ANNOUNCE, now + self._jittered(wait))

    @property
    def _is_behind_a_stream(self) -> bool:
        server = self._local.server
        return server is not None and server.endpoint is not None and server.endpoint.is_stream

    def _jittered(self, wait: float) -> float:
        return wait * (1.0 - RETRY_JITTER) + self._local.jitter(2 * RETRY_JITTER * wait)

    # STUN.

    def _ask_stun_anew(self, now: float) -> None:
        self._stun_tries = 0
        self._transaction = self._local.random(stun.TRANSACTION_SIZE)
        self._ask_stun(now)

    def _ask_stun(self, now: float) -> None:
        server = self._local.server
        if not self._stun_port or self._stun_tries >= STUN_TRIES or server is None or server.endpoint is None:
            self._transaction = b""
            return
        request = stun.binding_request(self._transaction)
        target = Endpoint(server.endpoint.address, self._stun_port)
        self._local.outbox.send(request, target)
        self._timers.arm(Timer.ASK_STUN, now + STUN_FIRST_RETRY * 2**self._stun_tries)
        self._stun_tries += 1

    def answered(self, message: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Take the answer of the server's second port: does the NAT choose a port for each destination?"""
        server = self._local.server
        if not self._transaction or server is None or server.endpoint is None:
            return Drop.UNASKED_STUN
        mapped = stun.mapped_address(message, self._transaction)
        if mapped is None or source != Endpoint(server.endpoint.address, self._stun_port):
            return Drop.UNASKED_STUN
        self._transaction = b""
        self._timers.disarm(Timer.ASK_STUN)
        self._local.stun_targets = source, server.endpoint._replace(socket=MAIN_SOCKET)
        if mapped == self._local.observed:
            self._nat_found(Nat(NatMapping.ENDPOINT_INDEPENDENT), now)
        else:
            self._step_finder.look(self._local.stun_targets, now)
            self._nat_found(Nat(NatMapping.ADDRESS_AND_PORT_DEPENDENT), now)
        return None

    def _step_found(self, step: int, now: float) -> None:
        """Take what is known now of the ports of a NAT that chooses one for each destination."""
        self._nat_found(self._local.nat._replace(step=step), now)

    def _nat_found(self, nat: Nat, now: float) -> None:
        if self._classify(nat):
            self._changed(now)

    def _classify(self, nat: Nat) -> bool:
        """Note what the NAT does; return whether that is news."""
        local = self._local
        if local.observed is not None and local.observed in self._hosts:
            nat = Nat(NatMapping.NONE)
        if nat == local.nat:
            return False
        local.nat = nat
        if nat.mapping is not NatMapping.UNKNOWN:
            local.outbox.events.append(NatClassified(nat))
        return True

    def _on_timer(self, timer: Timer, now: float) -> None:
        if timer is Timer.ASK_STUN:
            self._ask_stun(now)
        elif self._acknowledged:
            self.announce(now)
        else:
            self._announce(now)


@dataclass(frozen=True, slots=True)
class _Announcement:
    session: int  # index of the session on which it came
    frame: Announce


class Introducer:
    """The server's half: the latest announcement of each client, and introductions."""

    __slots__ = ("_announcements", "_peers")

    def __init__(self, peers: Mapping[bytes, Peer]) -> None:
        """`peers` are the configured ones by public key; what is not among them is never stored."""
        self._peers = peers
        self._announcements: dict[bytes, _Announcement] = {}

    def keep_only(self, keys: frozenset[bytes]) -> None:
        """Forget the announcements of all others."""
        self._announcements = {key: kept for key, kept in self._announcements.items() if key in keys}

    def forget(self, key: bytes) -> None:
        """Forget the announcement of one client."""
        self._announcements.pop(key, None)

    def announced(self, peer: Peer, session: Session, frame: Announce, now: float) -> None:
        """Store an announcement, unless a newer one has overtaken it, and acknowledge it."""
        key = peer.config.public_key
        kept = self._announcements.get(key)
        # Within one session only: a client that has restarted may number as it likes.
        is_late = kept is not None and kept.session == session.index and kept.frame.sequence > frame.sequence
        if not is_late:
            self._announcements[key] = _Announcement(session.index, frame)
        peer.tell_observed(now, session)
        peer.say(AnnounceAck(frame.sequence), now, on=session)

    def connect(self, asker: Peer, frame: Connect, now: float, *, isolation: bool) -> None:
        """Introduce two clients to each other at the same moment, or say why not."""
        target = self._peers.get(frame.peer)
        reason: Reason | None = None
        if isolation:
            reason = Reason.ISOLATED
        elif target is None or target is asker:
            reason = Reason.UNKNOWN
        elif target.config.public_key not in self._announcements or not target.has_session(now):
            reason = Reason.OFFLINE
        if reason is not None or target is None:
            asker.say(NotAvailable(frame.attempt, frame.peer, reason or Reason.UNKNOWN), now)
            return
        target.say(self._introduction(asker, frame.attempt, asked=False), now)
        asker.say(self._introduction(target, frame.attempt, asked=True), now)

    def _introduction(self, peer: Peer, attempt: int, *, asked: bool) -> Introduce:
        """Return what there is to tell of `peer`: what it has announced, and where it is seen right now."""
        key = peer.config.public_key
        kept = self._announcements.get(key)
        nat = Nat() if kept is None else kept.frame.nat
        announced = () if kept is None else kept.frame.candidates
        candidates = [each for each in announced if each.kind is CandidateKind.HOST]
        if peer.endpoint is not None and not peer.endpoint.is_stream:  # which says nothing of its UDP
            # First, whatever the client says of itself: by this the other side knows where it really is.
            seen = Candidate(CandidateKind.HOST, peer.endpoint)
            if seen in candidates:
                candidates.remove(seen)
            else:
                seen = Candidate(CandidateKind.OBSERVED, peer.endpoint)
            candidates.insert(0, seen)
        return Introduce(attempt, asked, key, nat, tuple(candidates[:MAX_CANDIDATES]))
