"""What a daemon tells about itself: its status as JSON, its events as sentences."""

from __future__ import annotations

import os
import time
from collections import Counter

from ltk.errors import InvalidInputError
from ltk.node.config import DaemonConfig, decode_key, encode_key
from ltk.node.loop import Loop
from ltk.node.udp import RECEIVE_FULL
from ltk.protocol.engine import Endpoint, Engine, Nat, NatMapping, Relay
from ltk.protocol.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CandidateStatus,
    EndpointChanged,
    Event,
    GoodbyeReceived,
    HandshakeCompleted,
    HandshakeGaveUp,
    HandshakeUnanswered,
    HelloReceived,
    NatClassified,
    Observed,
    PathChanged,
    PeerRegistered,
    PeerStatus,
    SessionErased,
    Traffic,
    TransportChanged,
)
from ltk.protocol.search import Method

VERSION = 1


def status(
    config: DaemonConfig, engine: Engine, loop: Loop, drops: Counter[str], *, waiting: bool = True
) -> dict[str, object]:
    """The node at this moment. Bytes and packets are counted since the peer was configured, drops since
    the daemon's start; `listen` is the UDP port that is bound. Without those `waiting` of the `peers`, only
    those that there has been a reason for.
    """
    now = time.monotonic()
    node = engine.node_status()
    counted = Counter({str(reason): count for reason, count in engine.drops.items()}) + drops
    counted += Counter({RECEIVE_FULL: loop.udp.overflowed})
    return {
        "version": VERSION,
        "node": config.node,
        "role": config.role.value,
        "state": "running",
        "device": {"name": config.device, "state": "gone" if loop.tun is None else "attached"},
        "listen": loop.udp.port,
        "listen_tcp": loop.streams.port,
        "transport": node.transport,
        "transport_reason": node.transport_reason or None,
        "transport_switches": node.transport_switches,
        "streams": node.streams,
        "endpoint_observed": None if node.observed is None else endpoint_text(node.observed),
        "nat": _nat(node.nat),
        "announcements": {"sent": node.announce_attempts, "acknowledged": node.announce_acks},
        "handshakes": dict(node.handshakes),
        "peers": [_peer(peer) for peer in engine.status(now, waiting=waiting)],
        "drops": dict(sorted(counted.items())),
        "pid": os.getpid(),
    }


def why(config: DaemonConfig, engine: Engine, name: object) -> dict[str, object]:
    """Each known way to the client `name`, and why it is the path or not; InvalidInputError for no peer."""
    peer = next((peer for peer in config.peers if peer.name == name), None)
    if peer is None:
        raise InvalidInputError("explaining a path", f"{config.node} has no peer {name!r}")
    found = engine.why(decode_key(peer.public_key), time.monotonic())
    return {"version": VERSION, "peer": peer.name, "candidates": [_candidate(each) for each in found]}


def describe(event: Event) -> str:
    """One sentence about `event`."""
    match event:
        case HandshakeCompleted(peer, initiator):
            return f"{peer}: handshake completed, asked for by {'us' if initiator else 'them'}"
        case HandshakeGaveUp(peer, dropped):
            return f"{peer}: no answer to any handshake; {dropped} waiting packets dropped"
        case HandshakeUnanswered(peer, seconds):
            return f"{peer}: no answer for {seconds:.0f} s, and nothing else was heard of it; asking on"
        case EndpointChanged(peer, None, new):
            return f"{peer}: reached at {_reached(new)}"
        case EndpointChanged(peer, Endpoint() as old, new):
            return f"{peer}: moved from {_reached(old)} to {_reached(new)}"
        case HelloReceived(peer, version, capabilities):
            return f"{peer}: speaks ltk {version}, capabilities {capabilities:#x}"
        case SessionErased(peer):
            return f"{peer}: keys erased"
        case GoodbyeReceived(peer):
            return f"{peer}: has stopped"
        case PeerRegistered(peer):
            return f"{peer}: registered"
        case PathChanged(peer, old, new, reason):
            return f"{peer}: path is {_place(new)}, was {_place(old)}: {reason}"
        case AttemptStarted(peer, number):
            return f"{peer}: attempt {number} at a direct path"
        case AttemptSucceeded(peer, number, endpoint):
            return f"{peer}: attempt {number} was answered from {endpoint_text(endpoint)}"
        case AttemptFailed(peer, number, reason, retry_in):
            return f"{peer}: attempt {number} failed, {reason}; next in {retry_in:.0f} s"
        case Observed(endpoint):
            return f"observed as {endpoint_text(endpoint)}"
        case NatClassified(nat):
            ports = f", its ports come in steps of {nat.step}" if nat.step else ""
            return f"the NAT's mapping is {_words(nat.mapping)}{ports}"
        case TransportChanged(peer, transport, reason):
            return f"{peer}: reached over {transport.upper()} from now on: {reason}"
        case _:
            return str(event)


def endpoint_text(endpoint: Endpoint) -> str:
    """The form "host:port", or "[v6]:port"."""
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{host}:{endpoint.port}"


def _reached(endpoint: Endpoint) -> str:
    return f"{endpoint_text(endpoint)} over TCP" if endpoint.is_stream else endpoint_text(endpoint)


def _place(place: Endpoint | Relay | None) -> str:
    match place:
        case None:
            return "none"
        case Relay():
            return "the relay"
        case Endpoint():
            return endpoint_text(place)


def _words(mapping: NatMapping) -> str | None:
    return None if mapping is NatMapping.UNKNOWN else mapping.name.lower().replace("_", "-")


def _nat(nat: Nat) -> dict[str, object]:
    """Its mapping, and its rule for ports, which is known only where it maps by destination."""
    ports = None if not nat.is_hard else "sequential" if nat.step else "random"
    return {"mapping": _words(nat.mapping), "ports": ports, "step": nat.step or None}


def _peer(peer: PeerStatus) -> dict[str, object]:
    return {
        "name": peer.name,
        "public_key": encode_key(peer.public_key),
        "path": peer.path,
        "endpoint": None if peer.endpoint is None else endpoint_text(peer.endpoint),
        "rtt_ms": _milliseconds(peer.rtt),
        "reason": peer.reason,
        "handshake_age_s": _rounded(peer.handshake_age),
        "tx_bytes": peer.tx_bytes,
        "rx_bytes": peer.rx_bytes,
        "tx_packets": peer.tx_packets,
        "rx_packets": peer.rx_packets,
        "by_path": {"direct": _traffic(peer.direct), "relay": _traffic(peer.relayed)},
        "staged": peer.staged,
        "direct_attempts": peer.direct_attempts,
        "direct_successes": peer.direct_successes,
        "direct_failures": peer.direct_failures,
        "direct_probes": {each.name.lower(): peer.probes.get(each, 0) for each in Method},
        "switches": peer.switches,
    }


def _traffic(traffic: Traffic) -> dict[str, int]:
    return {
        "tx_bytes": traffic.tx_bytes,
        "rx_bytes": traffic.rx_bytes,
        "tx_packets": traffic.tx_packets,
        "rx_packets": traffic.rx_packets,
    }


def _candidate(candidate: CandidateStatus) -> dict[str, object]:
    is_relay = isinstance(candidate.endpoint, Relay)
    kind = "relay" if candidate.kind is None else candidate.kind.name.lower().replace("_", "-")
    return {
        "endpoint": None if is_relay else _place(candidate.endpoint),
        "kind": kind,
        "state": candidate.state,
        "probe_age_s": _rounded(candidate.probe_age),
        "proof_age_s": _rounded(candidate.proof_age),
        "rtt_ms": _milliseconds(candidate.rtt),
        "reason": candidate.reason,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
