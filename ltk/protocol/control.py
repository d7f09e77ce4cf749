"""What ltk's nodes say to each other inside their sessions: frames in, and who acts on them.

A client talks to its server about itself (rendezvous), about channels (relay) and about introductions, and to
other clients about paths. A server answers its clients. Who says something that is not for it to say is
not heard.
"""

from __future__ import annotations

from ltk.protocol import stun
from ltk.protocol.config import EngineConfig, PeerKind
from ltk.protocol.cookie import TokenBucket
from ltk.protocol.drops import Drop
from ltk.protocol.frames import (
    FRAME_KINDS,
    Announce,
    AnnounceAck,
    ChannelOpened,
    Connect,
    Expect,
    Frame,
    Goodbye,
    Introduce,
    NotAvailable,
    ObservedAs,
    OpenChannel,
    Probe,
    ProbeReply,
    Reason,
    unpack_frame,
    unpack_hello,
)
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint, FrameKind, Place, Relay, channel_of
from ltk.protocol.peer import Peer
from ltk.protocol.relay import ChannelRequests, RelayTable
from ltk.protocol.rendezvous import Announcer, Introducer
from ltk.protocol.roster import Roster
from ltk.protocol.session import Session

STUN_RATE = 500.0  # answers per second; each costs about 10 µs
STUN_BURST = 500.0

_WHY_NOT = {
    Reason.UNKNOWN: "the server does not know it",
    Reason.OFFLINE: "the server has not heard of it",
    Reason.ISOLATED: "the server keeps its clients apart",
}


class Control:
    """The node's part in the conversation, as a client or as a server."""

    __slots__ = (
        "_isolation",
        "_local",
        "_peers",
        "_stun_bucket",
        "announcer",
        "introducer",
        "relay",
        "requests",
    )

    def __init__(self, local: Local, peers: Roster, now: float) -> None:
        """`peers` are the engine's, by public key."""
        self._local = local
        self._peers = peers
        self._isolation = False
        self._stun_bucket = TokenBucket(STUN_RATE, STUN_BURST, now)
        self.announcer = Announcer(local)
        self.introducer = Introducer(peers)
        self.relay = RelayTable(local, now)
        self.requests = ChannelRequests(local)

    def configure(self, config: EngineConfig) -> None:
        """Take a configuration whose peers are registered."""
        self._isolation = config.isolation
        servers = (peer for peer in self._peers.values() if peer.config.kind is PeerKind.SERVER)
        self._local.server = next(servers, None)
        allowed = config.forward and not config.isolation
        self.relay.keep_only(
            lambda peer: allowed and self._peers.get(peer.config.public_key) is peer and self._is_client(peer)
        )
        self.introducer.keep_only(frozenset(self._peers))

    def _is_client(self, peer: Peer) -> bool:
        return peer.config.kind is PeerKind.CLIENT

    # For peers.

    def session_started(self, peer: Peer, now: float) -> None:
        """Tell the server, if it is that, all that it may not know, or know no more."""
        if peer is not self._local.server:
            return
        if not peer.speaks_ltk:
            if peer.greeting.is_first:
                self.requests.ask_early(now)
            return
        self.announcer.announce(now)
        for other in self._peers.values():
            if other.paths is not None and other.paths.relies_on_relay(now):
                self.requests.want(other, now)
        self.requests.ask_again(now)
        for other in self._peers.values():
            if other.paths is not None:
                other.start_if_wanted(now)
                other.paths.begin_if_wanted(now)

    def want_channel(self, peer: Peer, now: float) -> None:
        """Open a relay channel to the peer, if there is a server."""
        self.requests.want(peer, now)

    def unwant_channel(self, peer: Peer) -> None:
        """Stop asking for one."""
        self.requests.unwant(peer)

    def connect(self, peer: Peer, attempt: int, now: float) -> bool:
        """Ask the server to introduce the peer; return False where there is none to be asked."""
        server = self._local.server
        if server is None or not server.speaks_ltk:
            return False
        if not server.say(Connect(attempt, peer.config.public_key), now):
            return False
        server.expect_answer(now)
        return True

    def unseen(self, now: float) -> None:
        """Note that the server sees this node by UDP no more."""
        if self.announcer.unseen(now):
            self._candidates_changed(now)

    def seen_again(self, now: float) -> None:
        """Announce, since UDP gets to the server again: with the answer comes where it sees this node."""
        self.announcer.announce(now)

    # For the engine.

    def set_local_endpoints(self, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """Take the node's own endpoints."""
        if self.announcer.set_hosts(endpoints, now):
            self._candidates_changed(now)

    def _candidates_changed(self, now: float) -> None:
        for peer in self._peers.values():
            if peer.paths is not None:
                peer.paths.candidates_changed(now)

    def handle_stun(self, message: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Answer a request, as a server, or take the answer to one, as a client."""
        if not self._local.serves:
            transport = None if self._local.server is None else self._local.server.transport
            if transport is not None and transport.stun_answered(message, source, now):
                return None
            asked = self._local.questions if source.socket else self.announcer
            return asked.answered(message, source, now)
        answer = stun.answer(message, source)
        if answer is None or not self._stun_bucket.take(now):
            return Drop.STUN_REFUSED
        self._local.outbox.send(answer, source)
        return None

    def handle_notice(self, notice: memoryview, now: float) -> Drop:
        """Open the channels again that the server no longer knows, or not from here."""
        server = self._local.server
        refused = Relay(channel_of(notice))
        relayed = [peer for peer in self._peers.values() if peer.paths is not None and peer.paths.relay]
        known = any(peer.paths is not None and peer.paths.relay == refused for peer in relayed)
        if server is None or not known or not self.requests.may_reopen(now):
            return Drop.CHANNEL_REFUSED
        # Either the frame is enough, since it comes from where this node is now; or the server has
        # forgotten the session as well, and only a handshake is understood.
        for peer in relayed:
            if peer.paths is not None and (peer.paths.relay == refused or peer.paths.relay in peer.places):
                self.requests.want(peer, now)
        self.requests.ask_again(now)
        if server.handshake.is_wanted:
            server.handshake.repeat(now)
        else:
            server.want_handshake(now)
        return Drop.CHANNEL_REFUSED

    def handle_frame(
        self, peer: Peer, session: Session, payload: memoryview, source: Place, now: float
    ) -> Drop | None:
        """Act on a control frame; those of later versions are ignored."""
        kind = payload[0]
        if kind not in FRAME_KINDS:
            return Drop.UNKNOWN_FRAME
        if kind in (FrameKind.HELLO, FrameKind.HELLO_ACK):
            hello = unpack_hello(payload)
            if hello is None:
                return Drop.MALFORMED_FRAME
            if kind == FrameKind.HELLO:
                peer.greeting.accept_hello(session, hello, now)
            else:
                peer.greeting.accept_hello_ack(session, hello, now)
            return None
        frame = unpack_frame(payload)
        if frame is None:
            return Drop.MALFORMED_FRAME
        match frame:
            case Probe(challenge):
                return self._answer_probe(peer, session, challenge, source, now)
            case ProbeReply(challenge):
                asked = peer.transport if peer.paths is None else peer.paths
                return None if asked is None else asked.replied(challenge, source, now)
            case Expect() if peer.paths is not None:
                return peer.paths.expected(frame, now)
            case Goodbye():
                self.introducer.forget(peer.config.public_key)
                peer.part(now)
                return None
        if self._local.serves and self._is_client(peer):
            return self._serve(peer, session, frame, now)
        if peer is self._local.server:
            return self._obey(frame, now)
        return Drop.UNEXPECTED_FRAME

    def _answer_probe(
        self, peer: Peer, session: Session, challenge: bytes, source: Place, now: float
    ) -> Drop | None:
        """Answer to exactly where the probe came from, unless nothing may go there."""
        seen = source if isinstance(source, Endpoint) else None
        if peer.paths is not None and seen is not None and not peer.config.may_be_direct:
            return Drop.UNEXPECTED_FRAME
        peer.say(ProbeReply(challenge, seen), now, to=(source,), on=session)
        return None

    def _serve(self, peer: Peer, session: Session, frame: Frame, now: float) -> Drop | None:
        """Act on what a client says to this server."""
        match frame:
            case Announce():
                self.introducer.announced(peer, session, frame, now)
            case Connect():
                self.introducer.connect(peer, frame, now, isolation=self._isolation)
            case OpenChannel(request, key):
                other = self._peers.find(key)
                channel = 0
                if other is not None and other is not peer and self._is_client(other) and not self._isolation:
                    channel = self.relay.open(peer, other)
                peer.say(ChannelOpened(request, key, channel), now, on=session)
            case _:
                return Drop.UNEXPECTED_FRAME
        return None

    def _obey(self, frame: Frame, now: float) -> Drop | None:
        """Act on what the server says to this client."""
        match frame:
            case ObservedAs():
                if self.announcer.observed_as(frame, now):
                    self._candidates_changed(now)
                return None
            case AnnounceAck():
                return self.announcer.acknowledged(frame, now)
            case Introduce(peer=key) | NotAvailable(peer=key) | ChannelOpened(peer=key):
                peer = self._peers.find(key)
                if peer is None or peer.paths is None:
                    return Drop.UNKNOWN_PEER
            case _:
                return Drop.UNEXPECTED_FRAME
        match frame:
            case Introduce():
                if not peer.has_session(now):
                    # What was asked before may have reached the place that the other has just left.
                    peer.way_found(now)
                return peer.paths.introduced(frame, now)
            case NotAvailable(reason=reason):
                return peer.paths.not_available(frame, _WHY_NOT[reason])
            case ChannelOpened(request, _, channel):
                return self.requests.answered(peer, request, channel, now)
