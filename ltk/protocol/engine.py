"""The tunnel without I/O: datagrams, packets and the time go in; datagrams, packets and events come out.

After each `handle_*` and `configure`, the caller polls in this order:

1. `poll_transmit` until None: datagrams to send, in this order;
2. `poll_deliver` until None: IP packets for the TUN, in this order;
3. `poll_event` until None;
4. `next_timeout`, once: call `handle_timeout` then, or a little later.

Views that the polls return lie in one buffer that the next `handle_*` or `configure` uses again.
The engine has no clock: `now` is in seconds, from any monotonic clock, and never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ltk.errors import InvalidInputError
from ltk.protocol.config import EngineConfig, PeerConfig
from ltk.protocol.cookie import LoadGauge, MacChecker, SourceLimiter
from ltk.protocol.drops import Drop
from ltk.protocol.events import (
    EndpointChanged,
    Event,
    HandshakeCompleted,
    HandshakeGaveUp,
    HelloReceived,
    PeerStatus,
    SessionErased,
)
from ltk.protocol.local import Local
from ltk.protocol.messages import (
    COOKIE_REPLY_SIZE,
    DATA_OVERHEAD,
    INITIATION_SIZE,
    RESPONSE_SIZE,
    Buffer,
    Endpoint,
    FrameKind,
    Kind,
    ip_destination,
    ip_packet_length,
    ip_source,
    kind_of,
    receiver_of_cookie_reply,
    receiver_of_response,
    unpack_cookie_reply,
    unpack_data_header,
    unpack_hello,
    unpack_initiation,
    unpack_response,
)
from ltk.protocol.noise import Responder
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import KEY_SIZE, LowOrderKeyError, NotAuthenticError, PrivateKey
from ltk.protocol.routing import RoutingTable
from ltk.protocol.session import Session

__all__ = [
    "Drop",
    "Endpoint",
    "EndpointChanged",
    "Engine",
    "EngineConfig",
    "Event",
    "HandshakeCompleted",
    "HandshakeGaveUp",
    "HelloReceived",
    "PeerConfig",
    "PeerStatus",
    "SessionErased",
]


class Engine:
    """One node's tunnel: its peers and their sessions, and which of them may use which address."""

    def __init__(
        self, config: EngineConfig, *, now: float, wall_clock: float, random: Callable[[int], bytes]
    ) -> None:
        """Start with `config`.

        `now` is the monotonic clock in seconds, `wall_clock` is Unix time at that moment, and
        `random(n)` returns n unpredictable bytes. Raises InvalidInputError as `configure` does.
        """
        _check(config)
        identity = PrivateKey(config.private_key)
        self._config = config
        self._local = Local(identity, config.mtu, now=now, wall_clock=wall_clock, random=random)
        self._outbox = self._local.outbox
        self._checker = MacChecker(identity.public, random, now)
        self._load = LoadGauge(now)
        self._limiter = SourceLimiter()
        self._peers: dict[bytes, Peer] = {}
        self._routes: RoutingTable[Peer] = RoutingTable()
        self._addresses: frozenset[bytes] = frozenset()
        self._take_config(config, now)

    @property
    def drops(self) -> Mapping[Drop, int]:
        """How often each reason for a refusal has applied since the start."""
        return self._outbox.drops

    @property
    def public_key(self) -> bytes:
        """The node's own public key."""
        return self._local.identity.public

    # Configuration.

    def configure(self, config: EngineConfig, now: float) -> None:
        """Replace the configuration; peers are told apart by their public keys.

        An unchanged peer keeps everything. A changed endpoint, list of addresses or keepalive
        keeps the sessions; a changed pre-shared key ends those of the peer, a changed private
        key all of them. Raises InvalidInputError, and then changes nothing, on a key of the wrong
        length, on two peers with one key, and on a peer with the node's own.
        """
        _check(config)
        self._outbox.begin()
        self._take_config(config, now)

    def _take_config(self, config: EngineConfig, now: float) -> None:
        old, self._config = self._config, config
        self._local.mtu = config.mtu
        self._addresses = frozenset(address.packed for address in config.addresses)
        kept = {peer.public_key for peer in config.peers}
        for key in self._peers.keys() - kept:
            self._peers.pop(key).close()
        changed: list[Peer] = []
        if config.private_key != old.private_key:
            self._change_identity(PrivateKey(config.private_key), now)
            changed.extend(self._peers.values())
        for wanted in config.peers:
            peer = self._peers.get(wanted.public_key)
            if peer is None:
                self._peers[wanted.public_key] = peer = Peer(wanted, self._local)
                changed.append(peer)
            elif peer.config != wanted:
                peer.reconfigure(wanted, now)
                changed.append(peer)
        self._routes = RoutingTable(
            (network, self._peers[peer.public_key]) for peer in config.peers for network in peer.allowed_ips
        )
        for peer in changed:
            peer.start_if_wanted(now)

    def _change_identity(self, identity: PrivateKey, now: float) -> None:
        self._local.identity = identity
        self._checker = MacChecker(identity.public, self._local.random, now)
        for peer in self._peers.values():
            peer.reset()

    # Packets out.

    def handle_packet(self, packet: memoryview, now: float) -> Drop | None:
        """Take one IP packet that the TUN yielded at `now`; return why it went nowhere, if so.

        A packet that waits for a session has not gone nowhere.
        """
        self._outbox.begin()
        drop = self._route_out(packet, now)
        return drop if drop is None else self._outbox.drop(drop)

    def _route_out(self, packet: memoryview, now: float) -> Drop | None:
        length = ip_packet_length(packet)
        if length is None:
            return Drop.MALFORMED_PACKET
        peer = self._routes.lookup(ip_destination(packet))
        return Drop.NO_ROUTE if peer is None else peer.send_packet(packet[:length], now)

    # Datagrams in.

    def handle_datagram(self, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Take one UDP payload that arrived from `source` at `now`; return why it was refused, if so.

        Input that does not authenticate changes nothing but a counter. Cheap refusals come first,
        so that a flood is paid for by its sender.
        """
        self._outbox.begin()
        match kind_of(data):
            case Kind.DATA:
                drop = self._handle_data(data, source, now)
            case Kind.INITIATION:
                drop = self._handle_initiation(data, source, now)
            case Kind.RESPONSE:
                drop = self._handle_response(data, source, now)
            case Kind.COOKIE_REPLY:
                drop = self._handle_cookie_reply(data, now)
            case _:
                drop = Drop.UNKNOWN_TYPE
        return drop if drop is None else self._outbox.drop(drop)

    def _handle_data(self, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        size = len(data)
        if size < DATA_OVERHEAD:
            return Drop.WRONG_LENGTH
        entry = self._local.sessions.get(unpack_data_header(data)[1])
        if entry is None:
            return Drop.UNKNOWN_RECEIVER
        peer, session = entry
        if not session.may_receive(now):
            return Drop.SESSION_EXPIRED
        room = self._outbox.room(size - DATA_OVERHEAD)
        opened = session.open_one(data, room)
        if isinstance(opened, Drop):
            return opened
        peer.authenticated(session, source, size, now)
        return self._handle_payload(peer, session, room, now)

    def _handle_payload(self, peer: Peer, session: Session, payload: memoryview, now: float) -> Drop | None:
        match payload[0] >> 4 if payload else 0:
            case 4 | 6:
                peer.heard_payload(is_packet=True, now=now)
                return self._route_in(peer, payload, now)
            case 2:
                return _handle_frame(peer, session, payload, now)
            case 0 if not payload:
                peer.heard_payload(is_packet=False, now=now)
                return None
            case _:
                return Drop.UNKNOWN_FRAME

    def _route_in(self, peer: Peer, payload: memoryview, now: float) -> Drop | None:
        """Deliver an IP packet from `peer` to the TUN, or to the peer that it is for."""
        length = ip_packet_length(payload)
        if length is None:
            return Drop.MALFORMED_PACKET
        packet = payload[:length]
        if self._routes.lookup(ip_source(packet)) is not peer:
            return Drop.SOURCE_NOT_ALLOWED
        if self._config.forward and (destination := ip_destination(packet)) not in self._addresses:
            target = self._routes.lookup(destination)
            if target is peer:
                return Drop.HAIRPIN
            if target is not None:
                return Drop.ISOLATED if self._config.isolation else target.send_packet(packet, now)
        self._outbox.deliver.append(packet)
        return None

    # Handshakes in.

    def _admit(self, message: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Decide by its macs, and under load by its rate, whether a handshake message is worth its cost."""
        if not self._checker.mac1_is_valid(message):
            return Drop.BAD_MAC1
        if not self._load.note(now):
            return None
        if not self._checker.mac2_is_valid(message, source, now):
            self._outbox.transmit.append((self._checker.cookie_reply(message, source, now), source))
            return Drop.COOKIE_DEMANDED
        return None if self._limiter.allow(source, now) else Drop.RATE_LIMITED

    def _handle_initiation(self, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        if len(data) != INITIATION_SIZE:
            return Drop.WRONG_LENGTH
        if (refusal := self._admit(data, source, now)) is not None:
            return refusal
        message = unpack_initiation(data)
        noise = Responder(self._local.identity)
        try:
            peer = self._peers.get(noise.read_static(message.ephemeral, message.static))
            if peer is None:
                return Drop.UNKNOWN_PEER
            if peer.static_shared is None:
                return Drop.LOW_ORDER_KEY
            timestamp = noise.read_payload(peer.static_shared, message.timestamp)
        except NotAuthenticError:
            return Drop.NOT_AUTHENTIC
        except LowOrderKeyError:
            return Drop.LOW_ORDER_KEY
        return peer.accept_initiation(noise, message, timestamp, source, len(data), now)

    def _handle_response(self, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        if len(data) != RESPONSE_SIZE:
            return Drop.WRONG_LENGTH
        peer = self._local.handshakes.get(receiver_of_response(data))
        if peer is None:
            return Drop.UNKNOWN_RECEIVER
        if (refusal := self._admit(data, source, now)) is not None:
            return refusal
        return peer.accept_response(unpack_response(data), source, len(data), now)

    def _handle_cookie_reply(self, data: memoryview, now: float) -> Drop | None:
        if len(data) != COOKIE_REPLY_SIZE:
            return Drop.WRONG_LENGTH
        peer = self._peer_of_index(receiver_of_cookie_reply(data))
        if peer is None:
            return Drop.UNKNOWN_RECEIVER
        return peer.accept_cookie(unpack_cookie_reply(data), now)

    def _peer_of_index(self, index: int) -> Peer | None:
        """Find whom a handshake message with this sender's index went to: an initiation or a response."""
        if index in self._local.handshakes:
            return self._local.handshakes[index]
        return self._local.sessions[index][0] if index in self._local.sessions else None

    # Time and polling.

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`; there may be nothing."""
        self._outbox.begin()
        self._local.queue.expire(now)

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` must be called, in the clock of `now`; None for never.

        The moment is never later than what is due first. It may be earlier, and is then given anew.
        """
        return self._local.queue.next_timeout()

    def poll_transmit(self) -> tuple[Buffer, Endpoint] | None:
        """Return the next datagram to send, and where to; None where there is no more."""
        return self._outbox.transmit.popleft() if self._outbox.transmit else None

    def poll_deliver(self) -> Buffer | None:
        """Return the next IP packet for the TUN; None where there is no more."""
        return self._outbox.deliver.popleft() if self._outbox.deliver else None

    def poll_event(self) -> Event | None:
        """Return the next event; None where there is no more."""
        return self._outbox.events.popleft() if self._outbox.events else None

    def status(self, now: float) -> tuple[PeerStatus, ...]:
        """Return the state of each peer, in the order of the configuration."""
        return tuple(self._peers[peer.public_key].status(now) for peer in self._config.peers)


def _handle_frame(peer: Peer, session: Session, frame: memoryview, now: float) -> Drop | None:
    """Act on a control frame; those of later versions are ignored."""
    kind = frame[0]
    if kind not in (FrameKind.HELLO, FrameKind.HELLO_ACK):
        return Drop.UNKNOWN_FRAME
    hello = unpack_hello(frame)
    if hello is None:
        return Drop.MALFORMED_FRAME
    if kind == FrameKind.HELLO:
        peer.accept_hello(session, hello, now)
    else:
        peer.accept_hello_ack(session, hello)
    return None


def _check(config: EngineConfig) -> None:
    """Raise InvalidInputError where a configuration cannot be meant."""
    doing = "configuring the tunnel"
    if len(config.private_key) != KEY_SIZE:
        raise InvalidInputError(doing, f"the private key has {len(config.private_key)} bytes, not {KEY_SIZE}")
    own = PrivateKey(config.private_key).public
    seen: dict[bytes, str] = {}
    for peer in config.peers:
        if len(peer.public_key) != KEY_SIZE or len(peer.preshared_key) != KEY_SIZE:
            raise InvalidInputError(doing, f"a key of peer {peer.name!r} does not have {KEY_SIZE} bytes")
        if peer.public_key == own:
            raise InvalidInputError(
                doing,
                f"peer {peer.name!r} has this node's own public key",
                hint="give each node a key of its own",
            )
        if peer.public_key in seen:
            raise InvalidInputError(
                doing,
                f"peers {seen[peer.public_key]!r} and {peer.name!r} have the same public key",
                hint="give each node a key of its own",
            )
        seen[peer.public_key] = peer.name
