"""One peer: its sessions, its handshake, its timers, and the packets that wait for a session.

WireGuard paper, section 6. What is decided here is when to say what; what a message contains is
decided in noise, cookie and session, and who may send what to whom in engine.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ltk.protocol.config import PeerConfig
from ltk.protocol.cookie import MacWriter
from ltk.protocol.drops import Drop
from ltk.protocol.events import (
    EndpointChanged,
    HandshakeCompleted,
    HandshakeGaveUp,
    HelloReceived,
    PeerStatus,
    SessionErased,
)
from ltk.protocol.keyring import Keyring
from ltk.protocol.local import Local
from ltk.protocol.messages import (
    DATA_OVERHEAD,
    HELLO_VERSION,
    Buffer,
    CookieReply,
    Endpoint,
    FrameKind,
    Hello,
    Initiation,
    Response,
    pack_hello,
    pack_initiation,
    pack_response,
)
from ltk.protocol.noise import Initiator, Responder, ResponseParts
from ltk.protocol.primitives import LowOrderKeyError, NotAuthenticError, PrivateKey
from ltk.protocol.session import REJECT_AFTER_TIME, Session
from ltk.protocol.timers import Timer, Timers

REKEY_TIMEOUT = 5.0  # seconds; as all here from the WireGuard paper, section 6.1, unless said otherwise
REKEY_JITTER = 0.333  # seconds
REKEY_ATTEMPT_TIME = 90.0  # seconds
KEEPALIVE_TIMEOUT = 10.0  # seconds
SUSPECT_AFTER = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT  # seconds; section 6.5
REKEY_ON_RECEIVE_AFTER = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT  # seconds; section 6.2
ERASE_AFTER = 3 * REJECT_AFTER_TIME  # seconds; section 6.3
INITIATION_SPACING = 0.020  # seconds; the most that one peer may ask of us: 50 initiations a second
MAX_STAGED = 128  # packets; the Linux implementation's MAX_STAGED_PACKETS

HELLO_FIRST_RETRY = 1.0  # seconds, doubled each time
HELLO_LAST_RETRY = 32.0
HELLO_TRIES = 5  # per session, towards a peer that never answered one: it may be stock WireGuard

CAPABILITIES = 0  # bits of the HELLO; none is defined yet


class _Asked(NamedTuple):
    """A handshake that this node initiated and that is not answered yet."""

    own_index: int
    noise: Initiator


class Peer:
    """Everything that the engine knows about one peer."""

    __slots__ = (
        "_asked",
        "_attempts_from",
        "_hello_tries",
        "_last_handshake",
        "_last_initiation_received",
        "_last_initiation_sent",
        "_latest_timestamp",
        "_local",
        "_macs",
        "_staged",
        "_timers",
        "config",
        "endpoint",
        "hello",
        "keyring",
        "rx_bytes",
        "rx_packets",
        "static_shared",
        "tx_bytes",
        "tx_packets",
    )

    def __init__(self, config: PeerConfig, local: Local) -> None:
        """Register the peer; nothing is sent before `start_if_wanted`."""
        self._local = local
        self.config = config
        self.endpoint = config.endpoint
        self.tx_bytes = self.rx_bytes = self.tx_packets = self.rx_packets = 0
        self._macs = MacWriter(config.public_key)
        self._timers = Timers(local.queue, self._on_timer)
        self._staged: deque[bytes] = deque()
        self._latest_timestamp = b""
        self._last_initiation_received = float("-inf")
        self._take_identity()

    def _take_identity(self) -> None:
        """Start without any key material, on the node's present identity."""
        identity = self._local.identity
        try:
            self.static_shared: bytes | None = identity.shared_with(self.config.public_key)
        except LowOrderKeyError:
            self.static_shared = None  # nothing is ever sent to such a key
        self.keyring = Keyring(own_wins=identity.public < self.config.public_key)
        self.hello: Hello | None = None
        self._asked: _Asked | None = None
        self._attempts_from = 0.0
        self._last_initiation_sent = float("-inf")
        self._last_handshake: float | None = None
        self._hello_tries = 0

    # Configuration.

    def reconfigure(self, config: PeerConfig, now: float) -> None:
        """Take a changed configuration; only a changed pre-shared key costs the sessions."""
        old, self.config = self.config, config
        if config.endpoint is not None and config.endpoint != old.endpoint:
            self._move(config.endpoint)
        if config.preshared_key != old.preshared_key:
            self.reset()
        if config.keepalive != old.keepalive:
            if config.keepalive > 0:
                self._timers.arm(Timer.PERSISTENT_KEEPALIVE, now + config.keepalive)
            else:
                self._timers.disarm(Timer.PERSISTENT_KEEPALIVE)

    def start_if_wanted(self, now: float) -> None:
        """Start a handshake where there is no session and a reason to have one."""
        session = self.keyring.current
        if (session is None or not session.may_send(now)) and (self.config.keepalive > 0 or self._staged):
            self.want_handshake(now)

    def reset(self) -> None:
        """Forget all keys, for the node's or the peer's have changed. Staged packets stay."""
        self._erase()
        self._timers.disarm_all()
        self._take_identity()

    def close(self) -> None:
        """Forget everything; the peer is no longer configured."""
        self._erase()
        self._timers.disarm_all()
        if self._staged:
            self._local.outbox.drop(Drop.PEER_REMOVED, len(self._staged))
            self._staged.clear()

    def _erase(self) -> None:
        self._forget_asked()
        fallen = self.keyring.clear()
        self._unregister(fallen)
        if fallen:
            self._local.outbox.events.append(SessionErased(self.config.name))

    # Packets out.

    def send_packet(self, packet: Buffer, now: float) -> Drop | None:
        """Seal an IP packet for this peer, or let it wait for a session."""
        session = self.keyring.current
        if session is None or not session.may_send(now):
            return self._stage(packet, now)
        self._seal(session, packet, now)
        self._after_packet_sent(session, now)
        return None

    def _stage(self, packet: Buffer, now: float) -> Drop | None:
        if self.static_shared is None:
            return Drop.LOW_ORDER_KEY
        if self.endpoint is None:
            return Drop.NO_ENDPOINT
        if len(self._staged) == MAX_STAGED:
            self._staged.popleft()
            self._local.outbox.drop(Drop.STAGED_OVERFLOW)
        self._staged.append(bytes(packet))
        self.want_handshake(now)
        return None

    def _seal(self, session: Session, payload: Buffer, now: float) -> None:
        """Seal one payload and queue the datagram."""
        payload = self._local.padded(payload)
        room = self._local.outbox.room(len(payload) + DATA_OVERHEAD)
        if session.seal((payload,), room):
            self._transmit(room, now)

    def _transmit(self, datagram: Buffer, now: float) -> None:
        """Queue an authentic datagram of whatever kind for where the peer is."""
        if self.endpoint is None:
            return
        self._local.outbox.transmit.append((datagram, self.endpoint))
        self.tx_bytes += len(datagram)
        self.tx_packets += 1
        self._timers.disarm(Timer.OWE_KEEPALIVE)
        self._after_traffic(now)

    def _after_traffic(self, now: float) -> None:
        if self.config.keepalive > 0:
            self._timers.arm(Timer.PERSISTENT_KEEPALIVE, now + self.config.keepalive)

    def _after_packet_sent(self, session: Session, now: float) -> None:
        if not self._timers.is_armed(Timer.SUSPECT_PEER):
            self._timers.arm(Timer.SUSPECT_PEER, now + SUSPECT_AFTER)
        if session.wants_rekey(now):
            self.want_handshake(now)

    def _send_keepalive(self, now: float) -> None:
        session = self.keyring.current
        if session is None or not session.may_send(now):
            self.want_handshake(now)
            return
        self._seal(session, b"", now)
        if session.wants_rekey(now):
            self.want_handshake(now)

    def _use_new_session(self, now: float) -> None:
        """The current session is a new one: say HELLO, which also confirms it, then what has waited."""
        self._hello_tries = 0
        self._say_hello(now)
        self._flush_staged(now)

    def _flush_staged(self, now: float) -> None:
        session = self.keyring.current
        while self._staged and session is not None and session.may_send(now):
            self._seal(session, self._staged.popleft(), now)
            self._after_packet_sent(session, now)

    # Datagrams in.

    def authenticated(self, session: Session, source: Endpoint, size: int, now: float) -> None:
        """Note an authentic data message of `size` bytes on one of the sessions.

        It proves that the peer holds the session, that the peer is alive, and where it is now.
        """
        self._heard_from(source, size, now)
        if not session.heard:
            session.heard = True
            # One that this node initiated lies there only if it lost a crossing: nothing is left to confirm.
            if session is self.keyring.next and not session.initiator:
                self._confirm_next(now)

    def heard_payload(self, *, is_packet: bool, now: float) -> None:
        """Note what an authentic message carried: an IP packet, or nothing (a keepalive)."""
        if is_packet and not self._timers.is_armed(Timer.OWE_KEEPALIVE):
            self._timers.arm(Timer.OWE_KEEPALIVE, now + KEEPALIVE_TIMEOUT)
        current = self.keyring.current
        if current is not None and current.initiator and now - current.created >= REKEY_ON_RECEIVE_AFTER:
            # Once: the attempt, if nothing comes of it, lasts longer than the session.
            self.want_handshake(now)

    def _heard_from(self, source: Endpoint, size: int, now: float) -> None:
        if source != self.endpoint:
            self._move(source)
        self.rx_bytes += size
        self.rx_packets += 1
        self._timers.disarm(Timer.SUSPECT_PEER)
        self._after_traffic(now)

    def _move(self, endpoint: Endpoint) -> None:
        old, self.endpoint = self.endpoint, endpoint
        if old != endpoint:
            self._local.outbox.events.append(EndpointChanged(self.config.name, old, endpoint))

    # Handshakes.

    def want_handshake(self, now: float) -> None:
        """Ask for a new session, unless that is being done; never more often than every 5 s."""
        if (
            self._timers.is_armed(Timer.RETRY_HANDSHAKE)
            or self.static_shared is None
            or self.endpoint is None
        ):
            return
        self._attempts_from = max(now, self._last_initiation_sent + REKEY_TIMEOUT)
        if self._attempts_from > now:
            self._timers.arm(Timer.RETRY_HANDSHAKE, self._attempts_from)
        else:
            self._initiate(now)

    def _initiate(self, now: float) -> None:
        """Send message 1, with new ephemeral keys each time, and arm the retry or the end."""
        local = self._local
        if self.static_shared is None:
            return
        self._forget_asked()
        noise = Initiator(local.identity, self.config.public_key, PrivateKey(local.random(32)))
        parts = noise.write_initiation(self.static_shared, local.timestamp(now))
        self._asked = _Asked(local.new_index(), noise)
        local.handshakes[self._asked.own_index] = self
        self._last_initiation_sent = now
        retry = now + REKEY_TIMEOUT + local.jitter(REKEY_JITTER)
        self._timers.arm(Timer.RETRY_HANDSHAKE, min(retry, self._attempts_from + REKEY_ATTEMPT_TIME))
        message = pack_initiation(Initiation(self._asked.own_index, *parts))
        self._transmit(self._macs.write(message, now), now)

    def _forget_asked(self) -> None:
        if self._asked is not None:
            del self._local.handshakes[self._asked.own_index]
            self._asked = None

    def accept_initiation(
        self, noise: Responder, message: Initiation, timestamp: bytes, source: Endpoint, size: int, now: float
    ) -> Drop | None:
        """Answer an authentic initiation, unless it is a replay or one too many."""
        if timestamp <= self._latest_timestamp:
            return Drop.STALE_TIMESTAMP
        if now - self._last_initiation_received < INITIATION_SPACING:
            return Drop.HANDSHAKE_FLOOD
        local = self._local
        ephemeral = PrivateKey(local.random(32))
        try:
            parts, keys = noise.write_response(ephemeral, self.config.preshared_key)
        except LowOrderKeyError:
            return Drop.LOW_ORDER_KEY
        self._latest_timestamp = timestamp
        self._last_initiation_received = now
        self._heard_from(source, size, now)
        session = Session(local.new_index(), message.sender, keys, initiator=False, created=now)
        self._register(session, self.keyring.install_responded(session), now)
        response = pack_response(Response(session.index, message.sender, parts.ephemeral, parts.payload))
        self._transmit(self._macs.write(response, now), now)
        return None

    def accept_response(self, message: Response, source: Endpoint, size: int, now: float) -> Drop | None:
        """Finish the handshake that this node initiated."""
        if self._asked is None:
            return Drop.UNKNOWN_RECEIVER
        parts = ResponseParts(message.ephemeral, message.empty)
        try:
            _, keys = self._asked.noise.read_response(parts, self.config.preshared_key)
        except NotAuthenticError:
            return Drop.NOT_AUTHENTIC
        except LowOrderKeyError:
            return Drop.LOW_ORDER_KEY
        index = self._asked.own_index
        self._heard_from(source, size, now)
        session = Session(index, message.sender, keys, initiator=True, created=now)
        self._handshake_done(now, initiator=True)
        self._register(session, self.keyring.install_initiated(session), now)
        self._use_new_session(now)
        return None

    def accept_cookie(self, reply: CookieReply, now: float) -> Drop | None:
        """Keep a cookie for the next handshake message; nothing is sent sooner for it."""
        return None if self._macs.read_reply(reply, now) else Drop.UNASKED_COOKIE

    def _confirm_next(self, now: float) -> None:
        before = self.keyring.current
        self._unregister(self.keyring.confirm_next())
        self._handshake_done(now, initiator=False)
        if self.keyring.current is not before:
            self._use_new_session(now)

    def _handshake_done(self, now: float, *, initiator: bool) -> None:
        self._forget_asked()
        self._last_handshake = now
        self._timers.disarm(Timer.RETRY_HANDSHAKE)
        self._local.outbox.events.append(HandshakeCompleted(self.config.name, initiator))

    def _register(self, session: Session, fallen: list[Session], now: float) -> None:
        self._unregister(fallen)
        self._local.sessions[session.index] = (self, session)
        self._timers.arm(Timer.ERASE_SESSIONS, now + ERASE_AFTER)

    def _unregister(self, fallen: list[Session]) -> None:
        for session in fallen:
            del self._local.sessions[session.index]

    def _give_up(self) -> None:
        self._forget_asked()
        dropped = len(self._staged)
        self._staged.clear()
        if dropped:
            self._local.outbox.drop(Drop.GAVE_UP, dropped)
        self._local.outbox.events.append(HandshakeGaveUp(self.config.name, dropped))

    # Control frames.

    def accept_hello(self, session: Session, hello: Hello, now: float) -> None:
        """Learn that the peer speaks ltk's frames, and acknowledge on the same session."""
        self._learn(hello)
        if session.may_send(now):
            answer = Hello(HELLO_VERSION, CAPABILITIES)
            self._seal(session, pack_hello(FrameKind.HELLO_ACK, answer), now)

    def accept_hello_ack(self, session: Session, hello: Hello) -> None:
        """Stop repeating the HELLO of this session."""
        self._learn(hello)
        if session is self.keyring.current:
            self._timers.disarm(Timer.REPEAT_HELLO)

    def _learn(self, hello: Hello) -> None:
        if hello != self.hello:
            self.hello = hello
            self._local.outbox.events.append(
                HelloReceived(self.config.name, hello.version, hello.capabilities)
            )

    def _say_hello(self, now: float) -> None:
        session = self.keyring.current
        if session is None or not session.may_send(now):
            return
        if self.hello is None and self._hello_tries >= HELLO_TRIES:
            return
        self._seal(session, pack_hello(FrameKind.HELLO, Hello(HELLO_VERSION, CAPABILITIES)), now)
        delay = min(HELLO_FIRST_RETRY * 2**self._hello_tries, HELLO_LAST_RETRY)
        self._hello_tries += 1
        self._timers.arm(Timer.REPEAT_HELLO, now + delay)

    # Time.

    def _on_timer(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.RETRY_HANDSHAKE:
                if now >= self._attempts_from + REKEY_ATTEMPT_TIME:
                    self._give_up()
                else:
                    self._initiate(now)
            case Timer.OWE_KEEPALIVE:
                self._send_keepalive(now)
            case Timer.PERSISTENT_KEEPALIVE:
                self._after_traffic(now)  # due again, whether or not there is a session to send on
                self._send_keepalive(now)
            case Timer.SUSPECT_PEER:
                self.want_handshake(now)
            case Timer.REPEAT_HELLO:
                self._say_hello(now)
            case Timer.ERASE_SESSIONS:
                self._erase()
                self.hello = None
                self._last_handshake = None

    def status(self, now: float) -> PeerStatus:
        """Return what there is to tell at `now`."""
        return PeerStatus(
            name=self.config.name,
            public_key=self.config.public_key,
            endpoint=self.endpoint,
            handshake_age=None if self._last_handshake is None else now - self._last_handshake,
            tx_bytes=self.tx_bytes,
            rx_bytes=self.rx_bytes,
            tx_packets=self.tx_packets,
            rx_packets=self.rx_packets,
            staged=len(self._staged),
            is_ltk=self.hello is not None,
            sessions=len(self.keyring),
        )
