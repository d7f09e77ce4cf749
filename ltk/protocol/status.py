"""What an engine tells of a peer when it is asked."""

from __future__ import annotations

from dataclasses import replace

from ltk.protocol.config import PathPolicy
from ltk.protocol.events import PathName, PeerStatus
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint, Relay
from ltk.protocol.peer import Peer
from ltk.protocol.session import REJECT_AFTER_TIME


def peer_status(peer: Peer, local: Local, now: float) -> PeerStatus:
    """Return what there is to tell at `now`."""
    path, endpoint, reason = _path(peer, local, now)
    direct, relayed, paths = peer.sender.direct, peer.sender.relayed, peer.paths
    return PeerStatus(
        name=peer.config.name,
        public_key=peer.config.public_key,
        kind=peer.config.kind,
        endpoint=endpoint,
        handshake_age=None if peer.last_handshake is None else now - peer.last_handshake,
        tx_bytes=direct.tx_bytes + relayed.tx_bytes,
        rx_bytes=direct.rx_bytes + relayed.rx_bytes,
        tx_packets=direct.tx_packets + relayed.tx_packets,
        rx_packets=direct.rx_packets + relayed.rx_packets,
        direct=replace(direct),
        relayed=replace(relayed),
        staged=peer.staged,
        is_ltk=peer.greeting.hello is not None,
        sessions=len(peer.keyring),
        path=path,
        rtt=None if paths is None else paths.rtt,
        reason=f"{path}: {reason}",
        direct_attempts=0 if paths is None else paths.direct_attempts,
        direct_successes=0 if paths is None else paths.direct_successes,
        direct_failures=0 if paths is None else paths.direct_failures,
        switches=0 if paths is None else paths.switches,
        probes={} if paths is None else dict(paths.probes),
    )


def _over(peer: Peer) -> str:
    """That a peer is reached over TCP, and why, where it is so."""
    if peer.endpoint is None or not peer.endpoint.is_stream:
        return ""
    return "over TCP; " if peer.transport is None else f"over TCP, {peer.transport.reason}; "


def _path(peer: Peer, local: Local, now: float) -> tuple[PathName, Endpoint | None, str]:
    """Return which kind of path data takes, where that leads, and why."""
    age = None if peer.last_handshake is None else now - peer.last_handshake
    if age is None or age >= REJECT_AFTER_TIME or not len(peer.keyring):
        if not peer.may_be_reached:
            return "none", None, "no endpoint is known, it has to call first"
        if age is None:
            trouble = "" if peer.transport is None else peer.transport.trouble
            return "none", peer.endpoint, f"no handshake has been completed{trouble and '; '}{trouble}"
        return "none", peer.endpoint, f"the last handshake was {age:.0f} s ago"
    if peer.paths is None and peer.endpoint is None:
        return "none", None, "its TCP stream has ended, it has to call again"
    if peer.paths is None:
        return "direct", peer.endpoint, f"{_over(peer)}handshake {age:.0f} s ago"
    match peer.places:
        case (Endpoint() as endpoint, *_):
            return "direct", endpoint, peer.paths.explain(now)
        case (Relay(), *_) if local.server is not None and local.server.has_session(now):
            return "relay", local.server.endpoint, _over(local.server) + peer.paths.explain(now)
        case (Relay(), *_):
            return "none", None, "the relay cannot be reached"
        case _ if peer.config.path is PathPolicy.DIRECT_ONLY:
            return "none", None, f"the topology allows no relay; {peer.paths.explain(now)}"
        case _:
            return "none", None, peer.paths.explain(now)
