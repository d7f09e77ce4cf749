"""What an engine reports: events as they happen, and the state of a peer when asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ltk.protocol.config import PeerKind
from ltk.protocol.frames import CandidateKind, Nat
from ltk.protocol.messages import Endpoint, Place

PathName = Literal["direct", "relay", "none"]
TransportName = Literal["udp", "tcp"]
CandidateState = Literal["active", "doubted", "standby", "valid", "unproven"]


@dataclass(frozen=True, slots=True)
class PeerRegistered:
    """`peer`, its routes and its endpoint are in force; nothing has been sent to it yet."""

    peer: str


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
class HandshakeUnanswered:
    """Nothing at all was heard of `peer` since it was asked for a session; it is asked on, and for long."""

    peer: str
    seconds: float


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
    """The keys shared with `peer` were dropped: for their age, a change of configuration or its goodbye."""

    peer: str


@dataclass(frozen=True, slots=True)
class GoodbyeReceived:
    """`peer` has stopped and says so."""

    peer: str


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Data for the client `peer` takes another way: directly to an endpoint, through a relay, or none."""

    peer: str
    old: Place | None
    new: Place | None
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A direct path to `peer` is being looked for; `number` is the attempt's."""

    peer: str
    number: int


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """A probe of the attempt was answered from `endpoint`."""

    peer: str
    number: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """No direct path to `peer` was found; the next attempt is `retry_in` seconds away at the earliest."""

    peer: str
    number: int
    reason: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class Observed:
    """The server sees this node at `endpoint`."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class NatClassified:
    """What the NAT in front of this node does, as far as two ports of the server can tell."""

    nat: Nat


@dataclass(frozen=True, slots=True)
class TransportChanged:
    """The server `peer` is reached by other means, for this reason."""

    peer: str
    transport: TransportName
    reason: str


Event = (
    PeerRegistered
    | HandshakeCompleted
    | HandshakeGaveUp
    | HandshakeUnanswered
    | EndpointChanged
    | HelloReceived
    | SessionErased
    | GoodbyeReceived
    | PathChanged
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | Observed
    | NatClassified
    | TransportChanged
)


@dataclass(slots=True)
class Traffic:
    """Authentic datagrams over one kind of path: their number, and their UDP payload in bytes.

    What surrounds a relayed datagram is not counted.
    """

    tx_packets: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    rx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer at one moment.

    Bytes and packets are those of the peer's authentic datagrams, handshakes and keepalives
    included (UDP payload, as `wg show` counts them), in all and by path. `handshake_age` is in seconds,
    None where there was none since the peer was configured or its keys were erased. `sessions` counts
    those of previous, current and next that exist; `is_ltk` says that a HELLO was seen.

    `path` tells where data goes now: "none" where there is no session that could carry it, or no way.
    `endpoint` is where that path's datagrams are sent (with "none": the peer's last known endpoint) and
    `rtt` its smoothed round trip in seconds, where it is known; `reason` is a sentence. Attempts at direct
    paths and changes between direct and relay are counted since the peer was configured, and so are the
    probes that were sent by each way of looking for one.
    """

    name: str
    public_key: bytes
    kind: PeerKind
    endpoint: Endpoint | None
    handshake_age: float | None
    tx_bytes: int
    rx_bytes: int
    tx_packets: int
    rx_packets: int
    direct: Traffic
    relayed: Traffic
    staged: int
    is_ltk: bool
    sessions: int
    path: PathName
    rtt: float | None
    reason: str
    direct_attempts: int
    direct_successes: int
    direct_failures: int
    switches: int
    probes: Mapping[str, int]  # by method


@dataclass(frozen=True, slots=True)
class CandidateStatus:
    """One way to a client: why it is the path, or why not. Ages and round trip in seconds."""

    endpoint: Place
    kind: CandidateKind | None  # None: the relay
    state: CandidateState
    probe_age: float | None
    proof_age: float | None
    rtt: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The node itself: how the server sees it, and what it has tried since it was started."""

    observed: Endpoint | None
    nat: Nat
    announce_attempts: int
    announce_acks: int
    handshakes: Mapping[str, int]  # by result: initiated, answered, completed, gave-up
    transport: TransportName  # by which the server is reached; of a server itself: udp
    transport_reason: str
    transport_switches: int  # from one to the other
    streams: int  # over TCP, that are open or being opened
