"""One peer: its sessions, its timers, and the packets that wait for a session or a way.

WireGuard paper, section 6. What is decided here is when to say what; what a message contains is
decided in noise, cookie, session and frames, who may send what to whom in engine, and which way
datagrams for another client take in paths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ltk.protocol.config import PathPolicy, PeerConfig, PeerKind
from ltk.protocol.drops import Drop
from ltk.protocol.events import (
    EndpointChanged,
    GoodbyeReceived,
    HandshakeCompleted,
    HandshakeGaveUp,
    SessionErased,
)
from ltk.protocol.frames import (
    Frame,
    Goodbye,
    ObservedAs,
    Probe,
    pack_frame,
)
from ltk.protocol.greeting import Greeting
from ltk.protocol.handshake import REKEY_TIMEOUT, Handshake
from ltk.protocol.keyring import Keyring
from ltk.protocol.liveness import KEEPALIVE_TIMEOUT, Liveness
from ltk.protocol.local import Local
from ltk.protocol.messages import (
    Endpoint,
    Place,
    Relay,
)
from ltk.protocol.paths import Paths
from ltk.protocol.sender import Sender
from ltk.protocol.session import REJECT_AFTER_TIME, Session
from ltk.protocol.surroundings import Broker
from ltk.protocol.timers import Timer, Timers
from ltk.protocol.transport import Transport
from ltk.protocol.vnet import Packet, packet_of

REKEY_ON_RECEIVE_AFTER = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT  # seconds; its section 6.2
ERASE_AFTER = 3 * REJECT_AFTER_TIME  # seconds; its section 6.3
_STOCK = PeerKind.STOCK  # asked for with each packet, which looking it up would take longer than
MAX_STAGED = 128  # packets; the Linux implementation's MAX_STAGED_PACKETS


class Peer:
    """Everything that the engine knows about one peer.

    A peer has one endpoint, which roams as WireGuard's do; between two clients there are `paths` instead.
    """

    __slots__ = (
        "_broker",
        "_local",
        "_staged",
        "_timers",
        "config",
        "endpoint",
        "former",
        "greeting",
        "handshake",
        "keyring",
        "last_handshake",
        "liveness",
        "paths",
        "sender",
        "transport",
    )

    def __init__(self, config: PeerConfig, local: Local, broker: Broker) -> None:
        """Register the peer; nothing is sent before `start_if_wanted`."""
        self._local = local
        self._broker = broker
        self.config = config
        self.endpoint = config.endpoint
        self.former: Endpoint | None = None  # by UDP where that is a stream, or the reverse
        self.sender = Sender(local)
        self._timers = Timers(local.queue, self._on_timer)
        self._staged: deque[bytes] = deque()
        self.handshake = Handshake(self, local, self._timers)
        self.greeting = Greeting(self, local, self._timers)
        self.liveness = Liveness(self, local, self._timers)
        self.paths: Paths | None = None
        self.transport: Transport | None = None
        self._take_kind()
        self._start_over()

    def _take_kind(self) -> None:
        has_paths = self.config.kind is PeerKind.CLIENT and not self._local.serves
        if has_paths and self.paths is None:
            self.paths = Paths(self.config, self._local, self)
        elif not has_paths and self.paths is not None:
            self.paths.close()
            self.paths = None
        is_server = self.config.kind is PeerKind.SERVER and not self._local.serves
        if is_server and self.transport is None:
            self.transport = Transport(self, self._local, self._broker)
        elif not is_server and self.transport is not None:
            self.transport.close()
            self.transport = None

    def _start_over(self) -> None:
        """Have no key material."""
        self.keyring = Keyring(own_wins=self._local.identity.public < self.config.public_key)
        self.greeting.forget()
        self.last_handshake: float | None = None
        self.liveness.start_over()

    # Configuration.

    def reconfigure(self, config: PeerConfig, now: float) -> None:
        """Take a changed configuration; only a changed pre-shared key costs the sessions."""
        old, self.config = self.config, config
        if config.endpoint is not None and config.endpoint != old.endpoint:
            self._move(config.endpoint, now)
        self._take_kind()
        moved = (config.endpoint, config.transport) != (old.endpoint, old.transport)
        if self.transport is not None and moved:
            self.transport.start_over(now)
        if self.paths is not None:
            self.paths.configure(config, now)
            self._flush_staged(now)  # what has waited may have a way now
        if config.preshared_key != old.preshared_key:
            self.reset()
        if config.keepalive != old.keepalive:
            if config.keepalive > 0:
                self._timers.arm(Timer.PERSISTENT_KEEPALIVE, now + config.keepalive)
            else:
                self._timers.disarm(Timer.PERSISTENT_KEEPALIVE)

    def start_if_wanted(self, now: float) -> None:
        """Start a handshake where there is no session and a reason to have one."""
        eager = self.paths is not None and self.paths.is_wanted
        if not self.has_session(now) and (self.config.keepalive > 0 or self._staged or eager):
            self.want_handshake(now)

    def reset(self) -> None:
        """Forget all keys, for the node's or the peer's have changed. Staged packets stay."""
        self._erase()
        self._timers.disarm_all()
        self._start_over()
        self.handshake.take_identity()

    def close(self) -> None:
        """Forget everything; the peer is no longer configured."""
        self._erase()
        self._timers.disarm_all()
        if self.paths is not None:
            self.paths.close()
        if self.transport is not None:
            self.transport.close()
        self._broker.unwant_channel(self)
        self._drop_staged(Drop.PEER_REMOVED)

    def part(self, now: float) -> None:
        """Take the peer's goodbye: it is nowhere until it says that it is back."""
        self._local.outbox.events.append(GoodbyeReceived(self.config.name))
        self._erase()
        self.endpoint = self.config.endpoint
        if self.paths is not None:
            self.paths.forget("the peer has stopped")
        if self.transport is not None:
            self.transport.start_over(now)
        self.start_if_wanted(now)

    def _erase(self) -> None:
        self.handshake.forget_asked()
        fallen = self.keyring.clear()
        self._unregister(fallen)
        if fallen:
            self._local.outbox.events.append(SessionErased(self.config.name))

    def _drop_staged(self, reason: Drop) -> int:
        dropped = len(self._staged)
        if dropped:
            self._local.outbox.drop(reason, dropped)
            self._staged.clear()
        return dropped

    # Where the peer is.

    @property
    def places(self) -> Sequence[Place]:
        """Where a datagram for the peer goes: each gets a copy, and there may be none."""
        if self.paths is not None:
            return self.paths.places
        return () if self.endpoint is None else (self.endpoint,)

    @property
    def frame_places(self) -> Sequence[Place]:
        """Where control frames and keepalives go."""
        return self.places if self.paths is None else self.paths.for_frames

    @property
    def staged(self) -> int:
        """How many packets wait."""
        return len(self._staged)

    @property
    def may_be_reached(self) -> bool:
        """Whether asking for a session makes sense."""
        own = self.endpoint if self.transport is None else self.config.endpoint
        return self.paths is not None or own is not None

    @property
    def speaks_ltk(self) -> bool:
        """Whether the peer answers frames."""
        return self.greeting.knows_frames and self.config.kind is not _STOCK

    def has_session(self, now: float) -> bool:
        """Whether something can be sealed for the peer."""
        session = self.keyring.current
        return session is not None and session.may_send(now)

    def handshake_places(self, *, urgent: bool) -> Sequence[Place]:
        """Where to ask for a session."""
        if self.transport is not None:
            return self.transport.handshake_places
        return self.places if self.paths is None else self.paths.for_handshake(urgent=urgent)

    def answer_places(self, source: Place) -> Sequence[Place]:
        """Where to answer what came from `source`."""
        return (source,) if self.paths is None else self.paths.for_answer(source)

    def _move(self, endpoint: Endpoint, now: float) -> None:
        old, self.endpoint = self.endpoint, endpoint
        if endpoint.is_stream:
            self._local.streams.proven(endpoint.socket, self, now)
        if old != endpoint:
            self.former = old if old is not None and old.is_stream is not endpoint.is_stream else None
            self._local.outbox.events.append(EndpointChanged(self.config.name, old, endpoint))
            self.tell_observed(now)

    def _follows(self, source: Endpoint) -> bool:
        """Whether the endpoint roams there, as WireGuard's do."""
        return self.transport is None or self.transport.may_move_to(source)

    def move_to(self, endpoint: Endpoint | None, now: float) -> None:
        """Be reached there from now on, or nowhere."""
        if endpoint is None:
            self.endpoint = None
        else:
            self._move(endpoint, now)

    def lose_stream(self) -> None:
        """Note that the stream is no more over which a client of this server was reached."""
        self.endpoint = self.config.endpoint

    def tell_observed(self, now: float, on: Session | None = None) -> None:
        """Tell a client of this server where its UDP is seen."""
        if not self._local.serves or not self.speaks_ltk or self.endpoint is None:
            return
        if not self.endpoint.is_stream:
            self.say(ObservedAs(self.endpoint, self._local.stun_port), now, on=on)

    # Packets out.

    def send_packet(self, packet: Packet, now: float) -> Drop | None:
        """Seal a packet for this peer, which is written over, or let it wait for a session or a way."""
        session, paths = self.keyring.current, self.paths
        places = self.places if paths is None else paths.places
        if session is None or not places or not session.may_send(now):
            return self._stage(packet, now)
        segments = self.greeting.takes_segments
        drop = self.sender.send_packet(session, packet, places, takes_segments=segments)
        self.liveness.packet_sent(now)
        if paths is not None:
            paths.data_sent(now)
        if session.wants_rekey(now):
            self.want_handshake(now)
        return drop

    def _stage(self, packet: Packet, now: float) -> Drop | None:
        if self.handshake.static_shared is None:
            return Drop.LOW_ORDER_KEY
        if not self.may_be_reached:
            return Drop.NO_ENDPOINT
        if len(self._staged) == MAX_STAGED:
            self._staged.popleft()
            only_direct = self.config.path is PathPolicy.DIRECT_ONLY and self.has_session(now)
            self._local.outbox.drop(Drop.NO_DIRECT_PATH if only_direct else Drop.STAGED_OVERFLOW)
        self._staged.append(bytes(packet.framed))
        if not self.has_session(now):
            self.want_handshake(now)
        if self.paths is not None:
            self.paths.data_sent(now)
        self.expect_answer(now)
        return None

    def transmit_handshake(self, message: bytes, places: Sequence[Place], now: float) -> None:
        """Queue a handshake message."""
        self.sender.send_handshake(message, places)
        self.liveness.sent(now)

    def expect_anything(self, now: float) -> None:
        """Note that something was said to which something comes back, unless the session is lost there."""
        self.liveness.expect_anything(now)

    def expect_answer(self, now: float) -> None:
        """Note that something was said that an ltk peer does not leave unanswered for long."""
        self.liveness.expect_answer(now)

    def _use_new_session(self, now: float) -> None:
        """The current session is a new one: say HELLO, which also confirms it, then what has waited."""
        self.greeting.start(now)
        self._broker.session_started(self, now)
        if self.paths is not None:
            self.paths.session_started(now)
        self._flush_staged(now)

    def _flush_staged(self, now: float) -> None:
        session = self.keyring.current
        while self._staged and session is not None and session.may_send(now) and self.places:
            self.send_packet(packet_of(self._staged.popleft()), now)

    # What paths and handshakes ask for.

    def probe(self, endpoint: Endpoint, challenge: bytes, now: float, hops: int = 0) -> bool:
        """Seal a PROBE and send it to `endpoint`; return False without a session that could."""
        return self.say_packed(pack_frame(Probe(challenge)), now, to=(endpoint,), hops=hops)

    def tell(self, frame: Frame, now: float) -> bool:
        """Seal a frame and send it as data goes; return False where that cannot be done now."""
        return self.say(frame, now)

    def connect(self, attempt: int, now: float) -> bool:
        """Ask the server for an introduction; return False without one that could be asked."""
        return self._broker.connect(self, attempt, now)

    def way_found(self, now: float) -> None:
        """Send what has waited for somewhere to send it to."""
        if self.handshake.is_wanted:
            self.handshake.repeat(now)
        self._flush_staged(now)

    def no_way_found(self) -> None:
        """Keep nothing for a direct path that was not found, where no other is allowed."""
        if self.config.path is PathPolicy.DIRECT_ONLY:
            self._drop_staged(Drop.NO_DIRECT_PATH)

    # Datagrams in.

    def confirmed(self, session: Session, now: float) -> None:
        """Note the first authentic data message on one of the sessions, after what `heard_from` is told.

        It proves that the peer holds the session.
        """
        session.heard = True
        # One that this node initiated lies there only if it lost a crossing: nothing is left to confirm.
        if session is self.keyring.next and not session.initiator:
            self._confirm_next(now)

    def heard_payload(self, *, is_packet: bool, now: float) -> None:
        """Note what an authentic message carried: an IP packet, or nothing (a keepalive)."""
        if is_packet:
            self.liveness.heard_packet(now)
            if self.paths is not None:
                self.paths.data_heard(now)
        current = self.keyring.current
        if current is not None and current.initiator and now - current.created >= REKEY_ON_RECEIVE_AFTER:
            # Once: the attempt, if nothing comes of it, lasts longer than the session.
            self.want_handshake(now)

    def heard_from(self, source: Place, size: int, now: float, *, count: int = 1) -> None:
        """Note `count` authentic messages of `size` bytes in all, of whatever kind.

        They prove that the peer is alive, and where it is now.
        """
        traffic = self.sender.direct
        if self.paths is not None:
            self.paths.heard(source, now)
            if isinstance(source, Relay):
                traffic = self.sender.relayed
        elif source != self.endpoint and isinstance(source, Endpoint) and self._follows(source):
            self._move(source, now)
        traffic.rx_packets += count
        traffic.rx_bytes += size
        self.liveness.heard(now)

    # Sessions.

    def want_handshake(self, now: float) -> None:
        """Ask for a new session, unless that is being done; never more often than every 5 s."""
        if self.paths is not None and self.paths.relay is None:
            self._broker.want_channel(self, now)
        self.handshake.want(now)

    def keep_responded(self, session: Session, now: float) -> None:
        """Keep the session that the peer has asked for until the peer uses it."""
        self._register(session, self.keyring.install_responded(session), now)

    def use_initiated(self, session: Session, now: float) -> None:
        """Use the session that the peer has granted at once."""
        self._handshake_done(now, initiator=True)
        self._register(session, self.keyring.install_initiated(session), now)
        self._use_new_session(now)

    def _confirm_next(self, now: float) -> None:
        before = self.keyring.current
        self._unregister(self.keyring.confirm_next())
        self._handshake_done(now, initiator=False)
        if self.keyring.current is not before:
            self._use_new_session(now)

    def _handshake_done(self, now: float, *, initiator: bool) -> None:
        self.handshake.done()
        self.last_handshake = now
        self._local.outbox.events.append(HandshakeCompleted(self.config.name, initiator))

    def _register(self, session: Session, fallen: list[Session], now: float) -> None:
        self._unregister(fallen)
        self._local.sessions[session.index] = (self, session)
        self._timers.arm(Timer.ERASE_SESSIONS, now + ERASE_AFTER)

    def _unregister(self, fallen: list[Session]) -> None:
        for session in fallen:
            del self._local.sessions[session.index]

    def _retry_handshake(self, now: float) -> None:
        if self.paths is not None and self.paths.relay is None:
            self._broker.want_channel(self, now)
        if not self.handshake.retry(now):
            dropped = self._drop_staged(Drop.GAVE_UP)
            self._broker.unwant_channel(self)
            self._local.outbox.events.append(HandshakeGaveUp(self.config.name, dropped))

    # Control frames.

    def say(
        self, frame: Frame, now: float, *, to: Sequence[Place] | None = None, on: Session | None = None
    ) -> bool:
        """Seal a frame, on the current session and for where data goes unless told otherwise.

        Return False where that cannot be done now.
        """
        return self.say_packed(pack_frame(frame), now, to=to, on=on)

    def say_packed(
        self,
        frame: bytes,
        now: float,
        *,
        to: Sequence[Place] | None = None,
        on: Session | None = None,
        hops: int = 0,
    ) -> bool:
        """Seal a frame that is laid out already, or none for a keepalive, as `say` does."""
        session = on or self.keyring.current
        places = self.frame_places if to is None else to
        if session is None or not places or not session.may_send(now):
            return False
        self.sender.send_frame(session, frame, places, hops)
        self.liveness.sent(now)
        if session is self.keyring.current and session.wants_rekey(now):
            self.want_handshake(now)
        return True

    def greeted(self, now: float) -> None:
        """Note that the peer has said for the first time what it speaks."""
        if self.speaks_ltk:
            self._broker.session_started(self, now)

    def say_goodbye(self, now: float) -> None:
        """Tell the peer that this node stops, by every way that there is."""
        if self.greeting.hello is not None:
            self.say(Goodbye(), now, to=None if self.paths is None else self.paths.for_goodbye())

    # Time.

    def _on_timer(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.RETRY_HANDSHAKE:
                self._retry_handshake(now)
            case Timer.OWE_KEEPALIVE:
                self.liveness.send_keepalive(now)
            case Timer.PERSISTENT_KEEPALIVE:
                self.liveness.keep_alive(now)
            case Timer.SUSPECT_PEER:
                self.want_handshake(now)
            case Timer.DOUBT_PEER:
                self.liveness.doubt(now)
            case Timer.REPEAT_HELLO:
                self.greeting.say(now)
            case Timer.ERASE_SESSIONS:
                self._erase()
                self.greeting.forget()
                self.last_handshake = None
