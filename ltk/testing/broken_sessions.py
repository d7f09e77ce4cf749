"""Who gets in, what gets through, what is remembered and for how long: broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ltk.node.control import Answer, ControlServer, Request
from ltk.node.poller import Poller
from ltk.protocol.cookie import MacChecker
from ltk.protocol.drops import Drop
from ltk.protocol.keyring import Keyring
from ltk.protocol.messages import Buffer, Endpoint, ip_destination, unpack_data_header
from ltk.protocol.noise import _Transcript
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import KEY_SIZE
from ltk.protocol.receiver import Receiver
from ltk.protocol.replay import ReplayWindow
from ltk.protocol.session import Session
from ltk.protocol.vnet import Packet
from ltk.testing.breaking import mutant, replace


@mutant("session-no-replay-window")
def _no_replay_window() -> None:
    """Every counter is new."""
    replace(ReplayWindow, "accept", lambda _window, _counter: True)


@mutant("session-nonce-reused")
def _nonce_reused() -> None:
    """A counter is noted once its datagram is sealed, so that one that fails midway is not counted."""
    seal = Session.seal

    def seal_then_count(session: Session, payload: Buffer, out: memoryview) -> bool:
        before, is_sealed = session._sent, False
        try:
            is_sealed = seal(session, payload, out)
        finally:
            if not is_sealed:
                session._sent = before
        return is_sealed

    replace(Session, "seal", seal_then_count)


@mutant("session-never-expires")
def _never_expires() -> None:
    """A session is good for as long as it is remembered."""
    replace(Session, "may_receive", lambda _session, _now: True)


@mutant("routing-source-not-checked")
def _source_not_checked() -> None:
    """A peer may use any source address inside the tunnel."""
    route = Receiver._route_in

    def route_any(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.SOURCE_NOT_ALLOWED:
            receiver._outbox.deliver.append(payload)
            return None
        return drop

    replace(Receiver, "_route_in", route_any)


@mutant("endpoint-from-anybody")
def _endpoint_from_anybody() -> None:
    """A peer is where its datagrams come from, authentic or not."""
    handle = Receiver.handle_data

    def follow(receiver: Receiver, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        entry = receiver._local.sessions.get(unpack_data_header(data)[1])
        if entry is not None:
            entry[0].endpoint = source
        return handle(receiver, data, source, now)

    replace(Receiver, "handle_data", follow)


@mutant("endpoint-stays")
def _endpoint_stays() -> None:
    """A peer is where it was first heard."""
    move = Peer._move

    def move_once(peer: Peer, source: Endpoint, now: float) -> None:
        if peer.endpoint is None:
            move(peer, source, now)

    replace(Peer, "_move", move_once)


@mutant("relay-reads-along")
def _relay_reads_along() -> None:
    """What is for another client is sealed for the server, which routes it."""
    send, route = Peer.send_packet, Receiver._route_in

    def send_by_server(peer: Peer, packet: Packet, now: float) -> Drop | None:
        server = peer._local.server
        return send(peer if peer.paths is None or server is None else server, packet, now)

    def take_from_server(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.SOURCE_NOT_ALLOWED and peer is receiver._local.server:
            receiver._outbox.deliver.append(payload)
            return None
        return drop

    replace(Peer, "send_packet", send_by_server)
    replace(Receiver, "_route_in", take_from_server)


@mutant("isolation-of-introductions-only")
def _isolation_of_introductions_only() -> None:
    """Whom the server neither introduces nor relays, it routes for all the same."""
    route = Receiver._route_in

    def route_between(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.ISOLATED:
            target = receiver._local.routes.lookup(ip_destination(payload.bare))
            return target.send_packet(payload, now) if isinstance(target, Peer) else drop
        return drop

    replace(Receiver, "_route_in", route_between)


@mutant("cookie-mac1-unchecked")
def _mac1_unchecked() -> None:
    """A stranger's handshake is worth the cost of a key agreement."""
    replace(MacChecker, "mac1_is_valid", lambda _checker, _message: True)


@mutant("cookie-mac2-unchecked")
def _mac2_unchecked() -> None:
    """Under load nobody has to prove its address."""
    replace(MacChecker, "mac2_is_valid", lambda _checker, _message, _source, _now: True)


@mutant("noise-preshared-key-ignored")
def _preshared_key_ignored() -> None:
    """The pre-shared key is not mixed in."""
    mix = _Transcript.mix_preshared_key

    def mix_zeros(transcript: _Transcript, _preshared_key: bytes) -> bytes:
        return mix(transcript, bytes(KEY_SIZE))

    replace(_Transcript, "mix_preshared_key", mix_zeros)


@mutant("control-socket-for-everybody")
def _socket_for_everybody() -> None:
    """Every user of the machine may read the status and change the configuration."""
    make = ControlServer.__init__

    def make_open(
        server: ControlServer, path: Path, poller: Poller, handle: Callable[[Request, Answer], None]
    ) -> None:
        make(server, path, poller, handle)
        path.chmod(0o666)

    replace(ControlServer, "__init__", make_open)


@mutant("peer-keys-never-erased")
def _keys_never_erased() -> None:
    """Old keys stay in memory."""
    replace(Peer, "_erase", lambda _peer: None)


@mutant("peer-stage-unbounded")
def _stage_unbounded() -> None:
    """All packets wait for a session, however many there are."""

    def stage(peer: Peer, packet: Packet, now: float) -> None:
        peer._staged.append(bytes(packet.framed))
        peer.want_handshake(now)

    replace(Peer, "_stage", stage)


@mutant("rekey-forgets-the-old-session")
def _rekey_forgets() -> None:
    """A new session replaces the old one at once, and what is still under way on that is lost."""
    install_session = Keyring.install_initiated

    def install_alone(keyring: Keyring, session: Session) -> list[Session]:
        fallen = install_session(keyring, session)
        if keyring.previous is not None:
            fallen.append(keyring.previous)
            keyring.previous = None
        return fallen

    replace(Keyring, "install_initiated", install_alone)
