"""How a client reaches its server: over UDP, or over a TCP stream where UDP does not get through.

UDP is what a node begins with. Where a handshake gets no answer, a stream is opened beside it, and asked for
a session as well: by a message of its own, since the same one by two ways is refused the second time. What is
answered is used. From then on the client asks by UDP now and then, in two steps, so that a way which works in
one direction only is never taken: a STUN request, which changes nothing at the server, and where that is
answered a PROBE in the session. Its answer proves the way, and the client returns to it.

A stream is an address like any other: cookies, limits, sessions and channels know nothing of it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ltk.protocol import stun
from ltk.protocol.config import TransportMode
from ltk.protocol.drops import Drop
from ltk.protocol.events import TransportChanged, TransportName
from ltk.protocol.frames import CHALLENGE_SIZE, Probe
from ltk.protocol.handshake import REKEY_JITTER, REKEY_TIMEOUT
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint, Place
from ltk.protocol.surroundings import Broker
from ltk.protocol.timers import Timer, Timers

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

FALL_BACK_AFTER = 3.0  # seconds that a handshake is left unanswered before another way is tried
CONNECT_WITHIN = 10.0  # seconds; the third SYN leaves after 3 s
ASK_UDP_EVERY = 30.0  # seconds
ASK_AGAIN = (
    0.5  # seconds until an unanswered request is repeated, doubled each time (RFC 8489, section 6.2.1)
)
ASKS = 5  # requests of each kind: enough where two of five datagrams are lost
UNSEEN_AFTER = 2  # times in vain; what the server saw is worth little then
LINGER = 3.0  # seconds that a stream stays open after its end of use, for what is under way on it
SHORT_LIVED = 10.0  # seconds; a stream that ends sooner is not opened again at once
FIRST_RETRY = 1.0  # seconds until the next stream is opened, doubled each time
LAST_RETRY = 30.0


class Transport:
    """The ways to one server. The peer's endpoint is the one in use; what is decided here moves it."""

    __slots__ = (
        "_asks",
        "_broker",
        "_challenge",
        "_is_open",
        "_left",
        "_local",
        "_not_before",
        "_opened_at",
        "_peer",
        "_stream",
        "_timers",
        "_transaction",
        "_tries",
        "_udp",
        "_vain",
        "reason",
        "switches",
        "trouble",
    )

    def __init__(self, peer: Peer, local: Local, broker: Broker) -> None:
        """Open nothing before a handshake is asked for."""
        self._peer = peer
        self._local = local
        self._broker = broker
        self._timers = Timers(local.queue, self._on_timer)
        self._stream: Endpoint | None = None  # being opened, open, or in use
        self._left: Endpoint | None = None  # still open for what is under way on it
        self.switches = 0  # from one to the other, since the peer was configured
        self._start()

    def _start(self) -> None:
        self._is_open = False
        self._opened_at = self._not_before = -inf
        self._tries = self._asks = self._vain = 0
        self._transaction = self._challenge = b""
        self._udp = None if self._mode is TransportMode.TCP else self._peer.config.endpoint
        self.reason = "as configured" if self._mode is not TransportMode.AUTO else "UDP is tried first"
        self.trouble = "TCP is not allowed" if self._mode is TransportMode.UDP else ""
        self._peer.endpoint = self._udp

    # Where the server is.

    @property
    def _mode(self) -> TransportMode:
        return self._peer.config.transport

    @property
    def uses_stream(self) -> bool:
        """Whether what is for the server goes over a stream."""
        endpoint = self._peer.endpoint
        return endpoint is not None and endpoint.is_stream

    @property
    def handshake_places(self) -> tuple[Endpoint, ...]:
        """Where to ask for a session: over a stream that is open, or else by UDP."""
        if self._stream is not None and self._is_open:
            return (self._stream,)
        return () if self._udp is None else (self._udp,)

    def may_move_to(self, source: Endpoint) -> bool:
        """Return whether the endpoint follows an authentic datagram there: from UDP to UDP only."""
        if self.uses_stream or source.is_stream or self._mode is TransportMode.TCP:
            return False
        self._udp = source
        return True

    def knows(self, source: Place) -> bool:
        """Return whether the server may be heard there, as while one way is left for another."""
        return source in (self._udp, self._stream, self._left)

    # Handshakes.

    def asked(self, now: float) -> None:
        """Note that a handshake was asked for, or would have been had there been a way."""
        if self._mode is TransportMode.UDP or self._timers.is_armed(Timer.TRY_STREAM):
            return
        wait = 0.0 if self._mode is TransportMode.TCP and self._stream is None else FALL_BACK_AFTER
        self._timers.arm(Timer.TRY_STREAM, max(now + wait, self._not_before))

    def answered(self, source: Place, now: float) -> None:
        """Use the way by which the answer to a handshake came."""
        self._timers.disarm(Timer.TRY_STREAM)
        if not isinstance(source, Endpoint):
            return
        if self._mode is not TransportMode.UDP:
            self.trouble = ""
        if not source.is_stream:
            self._use_udp(source, now)
        elif source == self._stream and self._peer.endpoint != source:
            self._use(source, "UDP gets no answer", now)
            if self._mode is TransportMode.AUTO:
                self._ask_udp_anew(now)

    def cookie_received(self, now: float) -> None:
        """Wait for the next message, which has to have the cookie: the server is there, and under load."""
        if self._timers.is_armed(Timer.TRY_STREAM):
            self._timers.arm(Timer.TRY_STREAM, now + REKEY_TIMEOUT + REKEY_JITTER + FALL_BACK_AFTER)

    # Streams.

    def opened(self, number: int, now: float) -> None:
        """Ask for a session over a stream that is open now."""
        if self._stream is None or self._stream.socket != number:
            return
        self._is_open = True
        self._opened_at = now
        self._timers.disarm(Timer.TRY_STREAM)
        self._peer.handshake.ask_anew(now)

    def ended(self, number: int, now: float) -> None:
        """A stream is no more: it was refused, or the other side or the network has ended it."""
        if self._stream is not None and self._stream.socket == number:
            self._lose_stream("the stream ended" if self._is_open else "TCP is refused", now)
        elif self._left is not None and self._left.socket == number:
            self._left = None

    def start_over(self, now: float) -> None:
        """Begin as at the start: the configuration has changed, or the server has stopped."""
        self.close()
        self._start()
        if self._mode is TransportMode.TCP and self._peer.has_session(now):
            self._peer.handshake.ask_anew(now)

    def close(self) -> None:
        """Close what is open."""
        self._timers.disarm_all()
        for stream in (self._stream, self._left):
            if stream is not None:
                self._local.streams.close(stream.socket)
        self._stream = self._left = None

    def _try_stream(self, now: float) -> None:
        if not self._peer.handshake.is_wanted:  # given up: the next to be asked for begins anew
            if self._stream is not None and not self.uses_stream:
                self._local.streams.close(self._stream.socket)
                self._stream = None
        elif self._stream is None:
            self._open(now)
        else:
            self._lose_stream("no answer over TCP" if self._is_open else "TCP does not connect", now)

    def _open(self, now: float) -> None:
        target = self._peer.config.endpoint
        if target is not None:
            self._stream = self._local.streams.open(target)
            self._is_open = False
            self._timers.arm(Timer.TRY_STREAM, now + CONNECT_WITHIN)

    def _lose_stream(self, why: str, now: float) -> None:
        stream, was_open, was_used = self._stream, self._is_open, self.uses_stream
        assert stream is not None
        self.trouble = why
        self._local.streams.close(stream.socket)
        self._stream = None
        self._is_open = False
        if was_used and now - self._opened_at >= SHORT_LIVED:
            self._tries = 0
        wait = min(FIRST_RETRY * 2.0 ** (self._tries - 1), LAST_RETRY) if self._tries else 0.0
        self._tries += 1
        self._not_before = now + wait + self._local.jitter(0.1 * wait)
        if was_used:
            self._timers.disarm(Timer.ASK_UDP)
            self._use(self._udp, why, now)
        if was_used or self._peer.handshake.is_wanted:
            # What was good until now is asked for again at once; what never was waits its turn after UDP's.
            again = now if was_used else now + FALL_BACK_AFTER if was_open else now
            self._timers.arm(Timer.TRY_STREAM, max(again, self._not_before))
        if was_used or (was_open and self._peer.handshake.is_wanted):
            self._peer.handshake.ask_anew(now)

    # UDP again.

    def stun_answered(self, message: memoryview, source: Endpoint, now: float) -> bool:
        """Take the answer to a request of this object, if it is one: datagrams get there and back."""
        if not self._transaction or source != self._udp:
            return False
        if stun.mapped_address(message, self._transaction) is None:
            return False
        self._transaction = b""
        self._challenge = self._local.random(CHALLENGE_SIZE)
        self._asks = 0
        self._ask_udp(now)
        return True

    def replied(self, challenge: bytes, source: Place, now: float) -> Drop | None:
        """Take the server's answer to a PROBE: by UDP it proves the way back to UDP."""
        if isinstance(source, Endpoint) and not source.is_stream and self._challenge == challenge:
            self._use_udp(source, now)
        return None

    def _ask_udp_anew(self, now: float) -> None:
        self._transaction = self._local.random(stun.TRANSACTION_SIZE)
        self._challenge = b""
        self._asks = 0
        self._ask_udp(now)

    def _ask_udp(self, now: float) -> None:
        if self._udp is None or self._asks >= ASKS:
            self._transaction = self._challenge = b""
            self._timers.arm(Timer.ASK_UDP, now + ASK_UDP_EVERY - ASK_AGAIN * (2**ASKS - 1))
            self._vain += 1
            if self._vain >= UNSEEN_AFTER:
                self._broker.unseen(now)
            return
        if self._challenge:
            self._peer.say(Probe(self._challenge), now, to=(self._udp,))
        else:
            self._local.outbox.send(stun.binding_request(self._transaction), self._udp)
        self._timers.arm(Timer.ASK_UDP, now + ASK_AGAIN * 2**self._asks)
        self._asks += 1

    def _use_udp(self, source: Endpoint, now: float) -> None:
        self._udp = source
        self._vain = 0
        self._transaction = self._challenge = b""
        self._timers.disarm(Timer.ASK_UDP)
        stream, self._stream = self._stream, None
        self._is_open = False
        if self.uses_stream:
            self._left = stream
            self._timers.arm(Timer.LEAVE_STREAM, now + LINGER)
        elif stream is not None:
            self._local.streams.close(stream.socket)
        self._use(source, "UDP is answered", now)

    def _leave_stream(self, now: float) -> None:
        """Close what was left; what was said there last may have moved the server's view back to it."""
        if self._left is not None:
            if not self.uses_stream:
                self._peer.say(Probe(self._local.random(CHALLENGE_SIZE)), now)
            self._local.streams.close(self._left.socket)
            self._left = None

    def _use(self, endpoint: Endpoint | None, why: str, now: float) -> None:
        used = self.uses_stream
        self._peer.move_to(endpoint, now)
        if self._mode is TransportMode.AUTO:
            self.reason = why
        if used is not self.uses_stream:
            self.switches += 1
            now_used: TransportName = "tcp" if self.uses_stream else "udp"
            self._local.outbox.events.append(TransportChanged(self._peer.config.name, now_used, why))
            if not self.uses_stream:
                self._broker.seen_again(now)

    def _on_timer(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.TRY_STREAM:
                self._try_stream(now)
            case Timer.ASK_UDP if self._transaction or self._challenge:
                self._ask_udp(now)
            case Timer.ASK_UDP:
                self._ask_udp_anew(now)
            case Timer.LEAVE_STREAM:
                self._leave_stream(now)
