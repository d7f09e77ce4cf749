"""The tunnel without I/O: datagrams, packets and the time go in; datagrams, packets and events come out.

After each `handle_*` and `configure`, the caller polls in this order:

1. `poll_transmit` until None: datagrams to send, in this order;
2. `poll_deliver` until None: IP packets for the TUN, in this order;
3. `poll_connect` until None: TCP streams to open;
4. `poll_closed` until None: sockets and streams that are needed no more;
5. `poll_event` until None;
6. `next_timeout`, once: call `handle_timeout` then, or a little later.

Views that the polls return lie in buffers that the next `handle_*` or `configure` uses again. Where much goes
out, packets may be handed over one after the other while `queued` is small, and polled for together.
The engine has no clock: `now` is in seconds, from any monotonic clock, and never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ltk.errors import InvalidInputError
from ltk.protocol.config import EngineConfig, P2p, PathPolicy, PeerConfig, PeerKind, TransportMode
from ltk.protocol.control import Control
from ltk.protocol.cookie import LoadGauge, MacChecker, SourceLimiter
from ltk.protocol.directory import Directory
from ltk.protocol.drops import Drop
from ltk.protocol.events import (
    CandidateStatus,
    Event,
    NodeStatus,
    PeerRegistered,
    PeerStatus,
)
from ltk.protocol.frames import CandidateKind, Nat, NatMapping
from ltk.protocol.local import Local
from ltk.protocol.merge import take_merged
from ltk.protocol.messages import (
    COOKIE_REPLY_SIZE,
    DATA_OVERHEAD,
    INITIATION_SIZE,
    RELAY_HEADER_SIZE,
    RESPONSE_SIZE,
    STUN_SOCKET,
    Endpoint,
    Kind,
    Place,
    Relay,
    channel_of,
    ip_destination,
    ip_packet_length,
    kind_of,
    receiver_of_cookie_reply,
    receiver_of_response,
    unpack_cookie_reply,
    unpack_initiation,
    unpack_response,
)
from ltk.protocol.noise import Responder
from ltk.protocol.outbox import Transmit
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import KEY_SIZE, LowOrderKeyError, NotAuthenticError, PrivateKey
from ltk.protocol.receiver import Receiver
from ltk.protocol.roster import Roster
from ltk.protocol.session import SessionKeys
from ltk.protocol.status import peer_status
from ltk.protocol.vnet import VNET_SIZE, Packet, packet_of

__all__ = [
    "CandidateKind",
    "Drop",
    "Endpoint",
    "Engine",
    "EngineConfig",
    "Nat",
    "NatMapping",
    "P2p",
    "PathPolicy",
    "PeerConfig",
    "PeerKind",
    "Relay",
    "TransportMode",
]

_DATA = Kind.DATA.to_bytes(4, "little")  # how a data message begins


class Engine:
    """One node's tunnel: its peers and their sessions, and which of them may use which address."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        now: float,
        wall_clock: float,
        random: Callable[[int], bytes],
        directory: Directory | None = None,
    ) -> None:
        """Start with `config`.

        `now` is the monotonic clock in seconds, `wall_clock` is Unix time at that moment, and
        `random(n)` returns n unpredictable bytes. Whom `directory` knows becomes a peer when there is
        a reason (see roster). Raises InvalidInputError as `configure` does.
        """
        _check(config)
        identity = PrivateKey(config.private_key)
        self._config = config
        self._local = Local(
            identity, config.mtu, now=now, wall_clock=wall_clock, random=random, offloads=config.offloads
        )
        self._outbox = self._local.outbox
        self._checker = MacChecker(identity.public, random, now)
        self._load = LoadGauge(now)
        self._limiter = SourceLimiter()
        self._peers = Roster(self._local, directory)
        self._peers.broker = self._control = Control(self._local, self._peers, now)
        self._receiver = Receiver(self._local, self._control)
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
        self._local.serves = config.forward
        self._local.stun_port = config.stun_port
        self._receiver.configure(config)
        self._peers.keep_only(config.peers)
        changed: list[Peer] = []
        registered: list[PeerRegistered] = []
        if config.private_key != old.private_key:
            self._change_identity(PrivateKey(config.private_key), now)
            changed.extend(self._peers.values())
        for wanted in config.peers:
            if not self._peers.is_known(wanted.public_key):
                registered.append(PeerRegistered(wanted.name))
            before = self._peers.get(wanted.public_key)
            peer = self._peers.take(wanted)
            if before is not None and (before.config != wanted or config.forward != old.forward):
                before.reconfigure(wanted, now)
                changed.append(before)
            elif before is None and peer is not None:
                changed.append(peer)
        self._local.routes = self._peers.routes(config.peers)
        self._control.configure(config)
        self._outbox.events.extend(registered)
        for peer in changed:
            peer.start_if_wanted(now)

    def _change_identity(self, identity: PrivateKey, now: float) -> None:
        self._local.identity = identity
        self._checker = MacChecker(identity.public, self._local.random, now)
        for peer in self._peers.values():
            peer.reset()

    def set_local_endpoints(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Take this node's own underlay endpoints: its addresses, each with the UDP port that is bound.

        To be called at the start and whenever they change. What lies in the tunnel is left out.
        """
        self._outbox.begin()
        self._control.set_local_endpoints(tuple(endpoints), now)

    def shutdown(self, now: float) -> None:
        """Say goodbye on every session. What the polls return then is the last that there is to send."""
        self._outbox.begin()
        for peer in self._peers.values():
            peer.say_goodbye(now)

    # Packets out.

    def handle_packet(self, packet: memoryview, now: float) -> Drop | None:
        """Take one complete IP packet that the TUN yielded at `now`; return why it went nowhere, if so.

        A packet that waits for a session has not gone nowhere.
        """
        return self.handle_vnet_packet(packet_of(bytes(VNET_SIZE) + packet), now)

    def handle_vnet_packet(self, packet: Packet, now: float) -> Drop | None:
        """Take one packet behind its virtio header, as `handle_packet` does; it is written over."""
        self._outbox.begin()
        buffer, begin, end = packet
        bare = buffer[begin:end]
        length = ip_packet_length(bare)
        if length is None:
            return self._outbox.drop(Drop.MALFORMED_PACKET)
        destination = ip_destination(bare)
        peer = self._peers.to(destination)
        if peer is None or peer is self._local.server:  # it has what nobody else has
            peer = self._peers.at(destination) or peer
        if peer is None:
            return self._outbox.drop(Drop.NO_ROUTE)
        if length < end - begin:
            packet = Packet(buffer, begin, begin + length)
        drop = peer.send_packet(packet, now)
        return drop if drop is None else self._outbox.drop(drop)

    # Datagrams in.

    def handle_datagram(self, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Take one UDP payload that arrived from `source` at `now`; return why it was refused, if so.

        The `socket` of the source is the one at which it arrived.
        Input that does not authenticate changes nothing but a counter. Cheap refusals come first,
        so that a flood is paid for by its sender.
        """
        self._outbox.begin()
        if not source.socket and data[:4] == _DATA and len(data) >= DATA_OVERHEAD:  # nearly always
            drop = self._receiver.handle_data(data, source, now)
            return drop if drop is None else self._outbox.drop(drop)
        kind = kind_of(data)
        if kind is Kind.STUN and not source.is_stream:
            drop = self._control.handle_stun(data, source, now)
        elif not self._listens_at(source.socket):
            drop = Drop.UNKNOWN_TYPE if source.socket == STUN_SOCKET else Drop.CLOSED_SOCKET
        elif kind is Kind.RELAYED:
            drop = self._handle_relayed(data, source, now)
        else:
            drop = self._handle_message(kind, data, source, now)
        return drop if drop is None else self._outbox.drop(drop)

    def _listens_at(self, socket: int) -> bool:
        """Whether sessions may be spoken there: answers to what comes late would open a closed one again."""
        if socket < 0:
            return socket in self._local.streams
        return not socket or socket in self._local.sockets

    def _handle_relayed(self, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Relay a datagram, as a server, or take what was relayed, as a client."""
        if self._config.forward:
            return self._control.relay.forward(data, source, now)
        if not self._local.is_server_at(source):
            return Drop.NOT_FROM_SERVER
        if len(data) == RELAY_HEADER_SIZE:
            return self._control.handle_notice(data, now)
        message = data[RELAY_HEADER_SIZE:]
        return self._handle_message(kind_of(message), message, Relay(channel_of(data)), now)

    def _handle_message(self, kind: Kind | None, data: memoryview, source: Place, now: float) -> Drop | None:
        match kind:
            case Kind.DATA:
                return self._receiver.handle_data(data, source, now)
            case Kind.INITIATION:
                return self._handle_initiation(data, source, now)
            case Kind.RESPONSE:
                return self._handle_response(data, source, now)
            case Kind.COOKIE_REPLY:
                return self._handle_cookie_reply(data, now)
            case _:
                return Drop.UNKNOWN_TYPE

    # Bursts in.

    def handle_burst(self, data: memoryview, size: int, source: Endpoint, now: float) -> None:
        """Take UDP payloads that arrived back to back: each of `size` bytes, but the last may be shorter.

        The same as `handle_datagram` with each, but where all belong to one session or channel it is
        done at once.
        """
        self._outbox.begin()
        is_burst = len(data) > size and self._listens_at(source.socket)
        if is_burst and self._receiver.handle_burst(data, size, source, now):
            return
        for begin in range(0, len(data), size):
            self.handle_datagram(data[begin : begin + size], source, now)

    # Streams.

    def stream_accepted(self, source: Endpoint, now: float) -> int | None:
        """Take a TCP stream that somebody has opened; return its number, None where it is to be closed.

        What arrives on it, or is sent over it, has this number as the `socket` of its endpoint.
        """
        self._outbox.begin()
        return self._local.streams.accept(source, now) if self._config.forward else None

    def stream_opened(self, number: int, now: float) -> None:
        """Note that a stream of `poll_connect` is open: what is sent over it arrives, or it ends."""
        self._outbox.begin()
        server = self._local.server
        if server is not None and server.transport is not None:
            server.transport.opened(number, now)

    def stream_ended(self, number: int, now: float) -> None:
        """Note that a stream was refused or has ended, without having been asked to close."""
        self._outbox.begin()
        owner = self._local.streams.ended(number)
        if owner is not None and owner.endpoint is not None and owner.endpoint.socket == number:
            owner.lose_stream()
        server = self._local.server
        if server is not None and server.transport is not None:
            server.transport.ended(number, now)

    # Handshakes in.

    def _admit(self, message: memoryview, source: Place, now: float) -> Drop | None:
        """Decide by its macs, and under load by its rate, whether a handshake message is worth its cost."""
        if not self._checker.mac1_is_valid(message):
            return Drop.BAD_MAC1
        if not self._load.note(now):
            return None
        if not self._checker.mac2_is_valid(message, source, now):
            self._local.send(self._checker.cookie_reply(message, source, now), source)
            return Drop.COOKIE_DEMANDED
        return None if self._limiter.allow(source, now) else Drop.RATE_LIMITED

    def _handle_initiation(self, data: memoryview, source: Place, now: float) -> Drop | None:
        if len(data) != INITIATION_SIZE:
            return Drop.WRONG_LENGTH
        if (refusal := self._admit(data, source, now)) is not None:
            return refusal
        message = unpack_initiation(data)
        noise = Responder(self._local.identity)
        try:
            key = noise.read_static(message.ephemeral, message.static)
            if not self._peers.expects(key):
                return Drop.UNKNOWN_PEER
            static_shared = self._peers.static_shared(key)
            if static_shared is None:
                return Drop.LOW_ORDER_KEY
            timestamp = noise.read_payload(static_shared, message.timestamp)
        except NotAuthenticError:
            return Drop.NOT_AUTHENTIC
        except LowOrderKeyError:
            return Drop.LOW_ORDER_KEY
        peer = self._peers.find(key)  # who turns up becomes a peer now, with the key proven, and not before
        if peer is None:
            return Drop.UNKNOWN_PEER
        return peer.handshake.accept_initiation(noise, message, timestamp, source, len(data), now)

    def _handle_response(self, data: memoryview, source: Place, now: float) -> Drop | None:
        if len(data) != RESPONSE_SIZE:
            return Drop.WRONG_LENGTH
        peer = self._local.handshakes.get(receiver_of_response(data))
        if peer is None:
            return Drop.UNKNOWN_RECEIVER
        if (refusal := self._admit(data, source, now)) is not None:
            return refusal
        return peer.handshake.accept_response(unpack_response(data), source, len(data), now)

    def _handle_cookie_reply(self, data: memoryview, now: float) -> Drop | None:
        if len(data) != COOKIE_REPLY_SIZE:
            return Drop.WRONG_LENGTH
        peer = self._peer_of_index(receiver_of_cookie_reply(data))
        if peer is None:
            return Drop.UNKNOWN_RECEIVER
        return peer.handshake.accept_cookie(unpack_cookie_reply(data), now)

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

    @property
    def queued(self) -> int:
        """How many bytes wait to be polled for, about."""
        return self._outbox.used

    def poll_transmit(self) -> Transmit | None:
        """Return the next to send, where to, and from which socket; None where there is no more."""
        return self._outbox.poll_transmit()

    def poll_connect(self) -> Endpoint | None:
        """Return the next TCP stream to open: where to, and its number; None where there is no more."""
        streams = self._local.streams
        return streams.poll_connect() if streams.wanted else None

    def poll_closed(self) -> int | None:
        """Return the next socket, or stream, that is to be closed; None where there is no more.

        All sockets but the main one and a server's second one are opened by the first datagram that leaves
        by them.
        """
        sockets, streams = self._local.sockets, self._local.streams
        if sockets.unneeded:
            return sockets.poll_closed()
        return streams.poll_closed() if streams.unneeded else None

    def poll_deliver(self) -> memoryview | None:
        """Return the next packet for the TUN, with offloads behind its virtio header; None for no more."""
        waiting = self._outbox.deliver
        if not waiting:
            return None
        if not self._local.offloads:
            return waiting.popleft().bare
        buffer, begin, end = take_merged(waiting) if len(waiting) > 1 else waiting.popleft()
        return buffer[begin - VNET_SIZE : end]

    def poll_event(self) -> Event | None:
        """Return the next event; None where there is no more."""
        return self._outbox.events.popleft() if self._outbox.events else None

    def status(self, now: float, *, waiting: bool = True) -> tuple[PeerStatus, ...]:
        """Return the state of each peer, in the order of the configuration, then of their coming.

        Without those `waiting` only of the peers that there has been a reason for: see roster.
        """
        everybody = self._peers.everybody(self._config.peers)
        look = self._peers.shown if waiting else self._peers.get
        peers = (look(config.public_key) for config in everybody)
        return tuple(peer_status(peer, self._local, now) for peer in peers if peer is not None)

    def status_of(self, name: str, now: float) -> PeerStatus | None:
        """Return the state of the peer of that name; None where there is none."""
        everybody = self._peers.everybody(self._config.peers)
        key = next((config.public_key for config in everybody if config.name == name), b"")
        peer = self._peers.shown(key)
        return None if peer is None else peer_status(peer, self._local, now)

    def why(self, public_key: bytes, now: float) -> tuple[CandidateStatus, ...]:
        """Return every known way to a client, with why it is the path or not; () for any other peer."""
        peer = self._peers.shown(public_key)
        return () if peer is None or peer.paths is None else peer.paths.why(now)

    def session_keys(self) -> tuple[SessionKeys, ...]:
        """Return the keys of all sessions that there are, whoever asked for them: see `Session.disclose`."""
        return tuple(session.disclose(peer.config.name) for peer, session in self._local.sessions.values())

    def node_status(self) -> NodeStatus:
        """Return how the server sees this node, and what the node has tried since its start."""
        announcer = self._control.announcer
        transport = None if self._local.server is None else self._local.server.transport
        return NodeStatus(
            observed=self._local.observed,
            nat=self._local.nat,
            announce_attempts=announcer.attempts,
            announce_acks=announcer.acks,
            handshakes=dict(self._local.counts),
            transport="tcp" if transport is not None and transport.uses_stream else "udp",
            transport_reason="" if transport is None else transport.reason,
            transport_switches=0 if transport is None else transport.switches,
            streams=len(self._local.streams),
        )


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
