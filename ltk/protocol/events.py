"""What an engine reports: events as they happen, and the state of a peer when asked."""

from __future__ import annotations

from dataclasses import dataclass

from ltk.protocol.messages import Endpoint


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """A session with `peer` became usable for sending; `initiator` tells who had asked for it."""

    peer: str
    initiator: bool


@dataclass(frozen=True, slots=True)
class HandshakeGaveUp:
    """`peer` did not answer for 90 s; the packets that waited for it are gone."""

    peer: str
    dropped_packets: int


@dataclass(frozen=True, slots=True)
class EndpointChanged:
    """An authentic message of `peer` came from somewhere new; answers go there from now on."""

    peer: str
    old: Endpoint | None
    new: Endpoint


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """`peer` speaks ltk's frames, in this version and with these capability bits."""

    peer: str
    version: int
    capabilities: int


@dataclass(frozen=True, slots=True)
class SessionErased:
    """The keys shared with `peer` were dropped, for their age or for a change of configuration."""

    peer: str


Event = HandshakeCompleted | HandshakeGaveUp | EndpointChanged | HelloReceived | SessionErased


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer at one moment.

    Bytes and packets are those of the peer's authentic datagrams, handshakes and keepalives
    included (UDP payload, as `wg show` counts them). `handshake_age` is in seconds, None where
    there was none since the peer was configured or its keys were erased. `sessions` counts those
    of previous, current and next that exist; `is_ltk` says that a HELLO was seen.
    """

    name: str
    public_key: bytes
    endpoint: Endpoint | None
    handshake_age: float | None
    tx_bytes: int
    rx_bytes: int
    tx_packets: int
    rx_packets: int
    staged: int
    is_ltk: bool
    sessions: int
