"""One peer's handshakes: those that this node asks for, and those that it answers.

WireGuard paper, sections 5.4 and 6.4. What a message contains is decided in noise and cookie; where it
goes, and what becomes of the session, in peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ltk.protocol.cookie import MacWriter
from ltk.protocol.drops import Drop
from ltk.protocol.events import HandshakeUnanswered
from ltk.protocol.local import Local
from ltk.protocol.messages import (
    CookieReply,
    Initiation,
    Place,
    Response,
    pack_initiation,
    pack_response,
)
from ltk.protocol.noise import Initiator, Responder, ResponseParts
from ltk.protocol.primitives import LowOrderKeyError, NotAuthenticError, PrivateKey
from ltk.protocol.session import Session
from ltk.protocol.timers import Timer, Timers

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

REKEY_TIMEOUT = 5.0  # seconds; as all here from the WireGuard paper, section 6.1, unless said otherwise
REKEY_JITTER = 0.333  # seconds
REKEY_ATTEMPT_TIME = 90.0  # seconds
INITIATION_SPACING = 0.020  # seconds; the most that one peer may ask of us: 50 initiations a second


class _Asked(NamedTuple):
    """A handshake that this node initiated and that is not answered yet."""

    own_index: int
    noise: Initiator
    message: bytes
    heard: int  # datagrams of the peer until then


class Handshake:
    """The handshakes with one peer."""

    __slots__ = (
        "_asked",
        "_attempts_from",
        "_last_received",
        "_last_sent",
        "_latest_timestamp",
        "_local",
        "_macs",
        "_peer",
        "_static_shared",
        "_timers",
    )

    def __init__(self, peer: Peer, local: Local, timers: Timers) -> None:
        """Ask nothing yet; `timers` are the peer's, of which RETRY_HANDSHAKE is used here."""
        self._peer = peer
        self._local = local
        self._timers = timers
        self._macs = MacWriter(peer.config.public_key)
        self._latest_timestamp = b""
        self._last_received = float("-inf")
        self._asked: _Asked | None = None
        self.take_identity()

    def take_identity(self) -> None:
        """Start without any key material, on the node's present identity."""
        self._static_shared: bytes | None = b""  # not computed yet: most pairs of a large network never talk
        self._attempts_from = 0.0
        self._last_sent = float("-inf")

    @property
    def static_shared(self) -> bytes | None:
        """The secret shared by both static keys; None for a key to which nothing is ever sent."""
        if self._static_shared == b"":
            try:
                self._static_shared = self._local.identity.shared_with(self._peer.config.public_key)
            except LowOrderKeyError:
                self._static_shared = None
        return self._static_shared

    # Asking.

    @property
    def is_wanted(self) -> bool:
        """Whether a new session is being asked for."""
        return self._timers.is_armed(Timer.RETRY_HANDSHAKE)

    def want(self, now: float) -> None:
        """Ask for a new session, unless that is being done; never more often than every 5 s."""
        if self.is_wanted or self.static_shared is None or not self._peer.may_be_reached:
            return
        self._attempts_from = max(now, self._last_sent + REKEY_TIMEOUT)
        if self._attempts_from > now:
            self._timers.arm(Timer.RETRY_HANDSHAKE, self._attempts_from)
        else:
            self._initiate(now)

    def ask_anew(self, now: float) -> None:
        """Ask by another way than before, with a message of its own and at once."""
        if self.static_shared is not None:
            if not self.is_wanted:
                self._attempts_from = now
            self._initiate(now)

    def retry(self, now: float) -> bool:
        """Ask again, or return False where that has been done for long enough."""
        if now >= self._attempts_from + REKEY_ATTEMPT_TIME:
            self.forget_asked()
            self._local.counts["gave-up"] += 1
            return False
        self._tell_of_silence(now)
        self._initiate(now)
        return True

    def _tell_of_silence(self, now: float) -> None:
        """Report once in each attempt that nothing at all is heard; a lost message of a rekey is not that."""
        waited = now - self._attempts_from
        if self._asked is not None and self._asked.heard == self._heard and waited < 2 * REKEY_TIMEOUT:
            self._local.outbox.events.append(HandshakeUnanswered(self._peer.config.name, waited))

    @property
    def _heard(self) -> int:
        sender = self._peer.sender
        return sender.direct.rx_packets + sender.relayed.rx_packets

    def repeat(self, now: float, place: Place | None = None) -> None:
        """Say once more what was asked, to one more `place` or to all.

        The same message: who has seen it refuses it by its timestamp, and who has not, since it was lost or
        its receiver has restarted, is reached without waiting for the next one.
        """
        if self._asked is not None:
            places = self._peer.handshake_places(urgent=True) if place is None else (place,)
            self._peer.transmit_handshake(self._asked.message, places, now)
        elif self.is_wanted and now >= self._last_sent + REKEY_TIMEOUT:
            self._initiate(now)

    def _initiate(self, now: float) -> None:
        """Send message 1, with new ephemeral keys each time, and arm the retry or the end."""
        local, peer = self._local, self._peer
        urgent = self._asked is not None or peer.keyring.current is None
        self.forget_asked()
        places = peer.handshake_places(urgent=urgent)
        if self.static_shared is not None and places:
            self._ask(self.static_shared, places, now)
        retry = now + REKEY_TIMEOUT + local.jitter(REKEY_JITTER)
        self._timers.arm(Timer.RETRY_HANDSHAKE, min(retry, self._attempts_from + REKEY_ATTEMPT_TIME))
        if peer.transport is not None:
            peer.transport.asked(now)

    def _ask(self, static_shared: bytes, places: Sequence[Place], now: float) -> None:
        local, peer = self._local, self._peer
        noise = Initiator(local.identity, peer.config.public_key, PrivateKey(local.random(32)))
        parts = noise.write_initiation(static_shared, local.timestamp(now))
        index = local.new_index()
        message = self._macs.write(pack_initiation(Initiation(index, *parts)), now)
        self._asked = _Asked(index, noise, message, self._heard)
        local.handshakes[index] = peer
        local.counts["initiated"] += 1
        self._last_sent = now
        peer.transmit_handshake(message, places, now)

    def forget_asked(self) -> None:
        """Refuse the answer to what was asked last."""
        if self._asked is not None:
            del self._local.handshakes[self._asked.own_index]
            self._asked = None

    def done(self) -> None:
        """There is a new session."""
        self.forget_asked()
        self._timers.disarm(Timer.RETRY_HANDSHAKE)
        self._local.counts["completed"] += 1

    # Being asked, and answered.

    def accept_initiation(
        self, noise: Responder, message: Initiation, timestamp: bytes, source: Place, size: int, now: float
    ) -> Drop | None:
        """Answer an authentic initiation, unless it is a replay or one too many."""
        if timestamp <= self._latest_timestamp:
            return Drop.STALE_TIMESTAMP
        if now - self._last_received < INITIATION_SPACING:
            return Drop.HANDSHAKE_FLOOD
        local, peer = self._local, self._peer
        ephemeral = PrivateKey(local.random(32))
        try:
            parts, keys = noise.write_response(ephemeral, peer.config.preshared_key)
        except LowOrderKeyError:
            return Drop.LOW_ORDER_KEY
        self._latest_timestamp = timestamp
        self._last_received = now
        local.counts["answered"] += 1
        peer.heard_from(source, size, now)
        session = Session(local.new_index(), message.sender, keys, initiator=False, created=now)
        peer.keep_responded(session, now)
        response = pack_response(Response(session.index, message.sender, parts.ephemeral, parts.payload))
        peer.transmit_handshake(self._macs.write(response, now), peer.answer_places(source), now)
        return None

    def accept_response(self, message: Response, source: Place, size: int, now: float) -> Drop | None:
        """Finish the handshake that this node initiated."""
        if self._asked is None:
            return Drop.UNKNOWN_RECEIVER
        parts = ResponseParts(message.ephemeral, message.empty)
        try:
            _, keys = self._asked.noise.read_response(parts, self._peer.config.preshared_key)
        except NotAuthenticError:
            return Drop.NOT_AUTHENTIC
        except LowOrderKeyError:
            return Drop.LOW_ORDER_KEY
        session = Session(self._asked.own_index, message.sender, keys, initiator=True, created=now)
        if self._peer.transport is not None:
            self._peer.transport.answered(source, now)
        self._peer.heard_from(source, size, now)
        self._peer.use_initiated(session, now)
        return None

    def accept_cookie(self, reply: CookieReply, now: float) -> Drop | None:
        """Keep a cookie for the next handshake message; nothing is sent sooner for it."""
        if not self._macs.read_reply(reply, now):
            return Drop.UNASKED_COOKIE
        if self._peer.transport is not None:
            self._peer.transport.cookie_received(now)
        return None
