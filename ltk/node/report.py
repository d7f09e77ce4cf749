"""What a daemon tells about itself: its status as JSON, its events as sentences."""

from __future__ import annotations

import os
import time
from collections import Counter

from ltk.node.config import DaemonConfig, encode_key
from ltk.node.loop import Loop
from ltk.protocol.engine import (
    Endpoint,
    EndpointChanged,
    Engine,
    Event,
    HandshakeCompleted,
    HandshakeGaveUp,
    HelloReceived,
    PeerStatus,
    SessionErased,
)
from ltk.protocol.session import REJECT_AFTER_TIME

VERSION = 1


def status(config: DaemonConfig, engine: Engine, loop: Loop, drops: Counter[str]) -> dict[str, object]:
    """The node at this moment. Bytes and packets are counted since the peer was configured, drops since
    the daemon's start; `listen` is the UDP port that is bound."""
    now = time.monotonic()
    counted = Counter({str(reason): count for reason, count in engine.drops.items()}) + drops
    return {
        "version": VERSION,
        "node": config.node,
        "role": config.role.value,
        "state": "running",
        "device": {"name": config.device, "state": "gone" if loop.tun is None else "attached"},
        "listen": loop.udp.port,
        "peers": [_peer(peer) for peer in engine.status(now)],
        "drops": dict(sorted(counted.items())),
        "pid": os.getpid(),
    }


def describe(event: Event) -> str:
    """One sentence about `event`."""
    match event:
        case HandshakeCompleted(peer, initiator):
            return f"{peer}: handshake completed, asked for by {'us' if initiator else 'them'}"
        case HandshakeGaveUp(peer, dropped):
            return f"{peer}: no answer to any handshake; {dropped} waiting packets dropped"
        case EndpointChanged(peer, None, new):
            return f"{peer}: reached at {endpoint_text(new)}"
        case EndpointChanged(peer, Endpoint() as old, new):
            return f"{peer}: moved from {endpoint_text(old)} to {endpoint_text(new)}"
        case HelloReceived(peer, version, capabilities):
            return f"{peer}: speaks ltk {version}, capabilities {capabilities:#x}"
        case SessionErased(peer):
            return f"{peer}: keys erased"
        case _:
            return str(event)


def endpoint_text(endpoint: Endpoint) -> str:
    """The form "host:port", or "[v6]:port"."""
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{host}:{endpoint.port}"


def _peer(peer: PeerStatus) -> dict[str, object]:
    age = peer.handshake_age
    live = peer.sessions > 0 and age is not None and age < REJECT_AFTER_TIME
    return {
        "name": peer.name,
        "public_key": encode_key(peer.public_key),
        "endpoint": None if peer.endpoint is None else endpoint_text(peer.endpoint),
        "handshake_age_s": None if age is None else round(age, 1),
        "tx_bytes": peer.tx_bytes,
        "rx_bytes": peer.rx_bytes,
        "tx_packets": peer.tx_packets,
        "rx_packets": peer.rx_packets,
        "staged": peer.staged,
        "path": "direct" if live else "none",
        "reason": _reason(peer, live),
    }


def _reason(peer: PeerStatus, live: bool) -> str:
    if live:
        return f"direct: handshake {peer.handshake_age:.0f} s ago"
    if peer.endpoint is None:
        return "none: no endpoint is known, it has to call first"
    if peer.handshake_age is None:
        return "none: no handshake has been completed"
    return f"none: the last handshake was {peer.handshake_age:.0f} s ago"
