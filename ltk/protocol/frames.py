"""The control frames inside a session: what they say, and their layout.

The first byte tells the kind. Integers are little-endian. Frames may be followed by padding, and
kinds that are not known are ignored, so that versions can mix.

    HELLO / HELLO_ACK  8  kind 1, version 1, zeros 2, capabilities 4
    OBSERVED      3+e     kind 1, second STUN port 2 (0: none), endpoint
    ANNOUNCE      7+n*c   kind 1, sequence 4, NAT 1, count 1, candidates
    ANNOUNCE_ACK  5       kind 1, sequence 4
    CONNECT      41       kind 1, attempt 8, public key 32
    INTRODUCE    44+n*c   kind 1, attempt 8, flags 1 (1: you asked), public key 32, NAT 1, count 1, candidates
    NOT_AVAILABLE 42      kind 1, attempt 8, public key 32, reason 1
    PROBE         9       kind 1, challenge 8
    PROBE_REPLY   9+e     kind 1, challenge 8, endpoint from which the probe came
    CHANNEL      37       kind 1, request 4, public key 32
    CHANNEL_ACK  41       kind 1, request 4, public key 32, channel 4 (0: refused)
    GOODBYE       1       kind 1
    EXPECT        4+e     kind 1, rule 1, step 2, endpoint

    NAT           1       the mapping in the low four bits, in the high four the step from one port to
                          the next where they come in sequence (0: they do not, or it is not known)
    endpoint      e       family 1 (4, 6, or 0 for a relay, with nothing more), port 2, address 4 or 16
    candidate     c       kind 1, endpoint
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from ltk.protocol.messages import Endpoint, FrameKind

HELLO_VERSION = 1
FRAME_KINDS = frozenset(FrameKind)
CHALLENGE_SIZE = 8  # bytes
MAX_CANDIDATES = 8  # in one frame; more are not read


class Capability(IntFlag):
    """The capability bits of a HELLO."""

    P2P = 1  # speaks the frames from OBSERVED to GOODBYE
    SEGMENTS = 2  # takes segments


class NatMapping(IntEnum):
    """How a client's NAT chooses the port for a destination (RFC 4787, section 4.1)."""

    UNKNOWN = 0
    NONE = 1  # the client is seen under an address of its own
    ENDPOINT_INDEPENDENT = 2
    ADDRESS_AND_PORT_DEPENDENT = 3


class Nat(NamedTuple):
    """What a client's NAT does, as far as two ports of one server can tell.

    `step` is how far the ports of two mappings are apart that are made one after the other, where that is
    always the same; 0 where it is not, or nobody has looked.
    """

    mapping: NatMapping = NatMapping.UNKNOWN
    step: int = 0

    @property
    def is_hard(self) -> bool:
        """Whether it chooses a port for each destination, so that nobody can be told where to send to."""
        return self.mapping is NatMapping.ADDRESS_AND_PORT_DEPENDENT


class PortRule(IntEnum):
    """Where the sender of an EXPECT will be seen next."""

    EXACT = 0  # at that endpoint
    STEPS = 1  # a step further on, or some more of them: others may have taken a port as well
    ANY = 2  # at many ports of that address, which nobody can tell


class CandidateKind(IntEnum):
    """How an endpoint of a client became known. Only the first two are ever announced."""

    HOST = 1  # an address of the client's own
    OBSERVED = 2  # what the server sees
    CONFIGURED = 3  # what the topology states
    PEER_REFLEXIVE = 4  # where an authentic message of the client came from
    EXPECTED = (
        5  # where the client has said that it will be seen, or what is reached from a socket made for it
    )


class Reason(IntEnum):
    """Why the server introduces nobody."""

    UNKNOWN = 0  # it has no such peer
    OFFLINE = 1  # the peer has not announced itself
    ISOLATED = 2  # it keeps its clients apart


class Hello(NamedTuple):
    """What a HELLO or a HELLO_ACK says about its sender."""

    version: int
    capabilities: int


class Candidate(NamedTuple):
    """An endpoint where a client may be reached."""

    kind: CandidateKind
    endpoint: Endpoint


class ObservedAs(NamedTuple):
    """OBSERVED: where the server sees the client, and the server's second STUN port (0: none)."""

    endpoint: Endpoint
    stun_port: int


class Announce(NamedTuple):
    """ANNOUNCE: where a client may be reached."""

    sequence: int
    nat: Nat
    candidates: tuple[Candidate, ...]


class AnnounceAck(NamedTuple):
    """ANNOUNCE_ACK: the server has stored that announcement."""

    sequence: int


class Connect(NamedTuple):
    """CONNECT: a client asks to be introduced to another. Attempts are numbered upwards."""

    attempt: int
    peer: bytes


class Introduce(NamedTuple):
    """INTRODUCE: where `peer` may be reached; `asked` tells whose number the attempt has."""

    attempt: int
    asked: bool
    peer: bytes
    nat: Nat
    candidates: tuple[Candidate, ...]


class NotAvailable(NamedTuple):
    """NOT_AVAILABLE: why the server introduces nobody."""

    attempt: int
    peer: bytes
    reason: Reason


class Probe(NamedTuple):
    """PROBE: to be answered to exactly where it came from."""

    challenge: bytes


class ProbeReply(NamedTuple):
    """PROBE_REPLY: the challenge again, and the source that the probe had (None: a relay)."""

    challenge: bytes
    seen: Endpoint | None


class OpenChannel(NamedTuple):
    """CHANNEL: a client wants to reach `peer` through the server."""

    request: int
    peer: bytes


class ChannelOpened(NamedTuple):
    """CHANNEL_ACK: the client's channel to `peer`; 0 where it gets none."""

    request: int
    peer: bytes
    channel: int


class Goodbye(NamedTuple):
    """GOODBYE: the sender is about to stop."""


class Expect(NamedTuple):
    """EXPECT: where the sender is about to be seen, by a rule; `step` is that of STEPS."""

    rule: PortRule
    step: int
    endpoint: Endpoint


Frame = (
    ObservedAs
    | Announce
    | AnnounceAck
    | Connect
    | Introduce
    | NotAvailable
    | Probe
    | ProbeReply
    | OpenChannel
    | ChannelOpened
    | Goodbye
    | Expect
)

_HELLO = struct.Struct("<BBxxI")
_OBSERVED = struct.Struct("<BH")
_ANNOUNCE = struct.Struct("<BIBB")
_ANNOUNCE_ACK = struct.Struct("<BI")
_CONNECT = struct.Struct("<BQ32s")
_INTRODUCE = struct.Struct("<BQB32sBB")
_NOT_AVAILABLE = struct.Struct("<BQ32sB")
_PROBE = struct.Struct("<B8s")
_CHANNEL = struct.Struct("<BI32s")
_CHANNEL_ACK = struct.Struct("<BI32sI")
_EXPECT = struct.Struct("<BBH")
_YOU_ASKED = 1


def pack_hello(kind: FrameKind, hello: Hello) -> bytes:
    """Lay out a HELLO or a HELLO_ACK."""
    return _HELLO.pack(kind, *hello)


def unpack_hello(frame: memoryview) -> Hello | None:
    """Read a HELLO or a HELLO_ACK, padded or not; None where it is too short."""
    if len(frame) < _HELLO.size:
        return None
    return Hello._make(_HELLO.unpack_from(frame)[1:])


def pack_frame(frame: Frame) -> bytes:
    """Lay out any control frame but a HELLO."""
    match frame:
        case ObservedAs(endpoint, stun_port):
            return _OBSERVED.pack(FrameKind.OBSERVED, stun_port) + _pack_endpoint(endpoint)
        case Announce(sequence, nat, candidates):
            head = _ANNOUNCE.pack(FrameKind.ANNOUNCE, sequence, _pack_nat(nat), len(candidates))
            return head + _pack_candidates(candidates)
        case AnnounceAck(sequence):
            return _ANNOUNCE_ACK.pack(FrameKind.ANNOUNCE_ACK, sequence)
        case Connect(attempt, peer):
            return _CONNECT.pack(FrameKind.CONNECT, attempt, peer)
        case Introduce(attempt, asked, peer, nat, candidates):
            flags = _YOU_ASKED if asked else 0
            head = _INTRODUCE.pack(FrameKind.INTRODUCE, attempt, flags, peer, _pack_nat(nat), len(candidates))
            return head + _pack_candidates(candidates)
        case NotAvailable(attempt, peer, reason):
            return _NOT_AVAILABLE.pack(FrameKind.NOT_AVAILABLE, attempt, peer, reason)
        case Probe(challenge):
            return _PROBE.pack(FrameKind.PROBE, challenge)
        case ProbeReply(challenge, seen):
            return _PROBE.pack(FrameKind.PROBE_REPLY, challenge) + _pack_endpoint(seen)
        case OpenChannel(request, peer):
            return _CHANNEL.pack(FrameKind.CHANNEL, request, peer)
        case ChannelOpened(request, peer, channel):
            return _CHANNEL_ACK.pack(FrameKind.CHANNEL_ACK, request, peer, channel)
        case Goodbye():
            return bytes((FrameKind.GOODBYE,))
        case Expect(rule, step, endpoint):
            return _EXPECT.pack(FrameKind.EXPECT, rule, step) + _pack_endpoint(endpoint)


def unpack_frame(frame: memoryview) -> Frame | None:
    """Read a control frame of a known kind other than HELLO; None where it is malformed."""
    try:
        return _READERS[FrameKind(frame[0])](frame)
    except (struct.error, ValueError):
        return None


def _pack_endpoint(endpoint: Endpoint | None) -> bytes:
    if endpoint is None:
        return b"\0"
    address = endpoint.packed()[:-2]
    family = 4 if len(address) == 4 else 6
    return bytes((family,)) + endpoint.port.to_bytes(2, "little") + address


def _read_endpoint(frame: memoryview, start: int) -> tuple[Endpoint | None, int]:
    """Return the endpoint at `start` (None: a relay) and where it ends; ValueError where there is none."""
    family = bytes(frame[start : start + 1])
    if family == b"\0":
        return None, start + 1
    size = {b"\4": 4, b"\6": 16}.get(family, 0)
    end = start + 3 + size
    if not size or len(frame) < end:
        raise ValueError
    port = int.from_bytes(frame[start + 1 : start + 3], "little")
    address = ip_address(bytes(frame[start + 3 : end]))
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Endpoint(str(address), port), end


def _pack_candidates(candidates: tuple[Candidate, ...]) -> bytes:
    return b"".join(bytes((kind,)) + _pack_endpoint(endpoint) for kind, endpoint in candidates)


def _read_candidates(frame: memoryview, start: int, count: int) -> tuple[Candidate, ...]:
    """Return the candidates at `start`; those of kinds that are never announced are left out."""
    found: list[Candidate] = []
    for _ in range(min(count, MAX_CANDIDATES)):
        if start >= len(frame):
            raise ValueError
        kind = frame[start]
        endpoint, start = _read_endpoint(frame, start + 1)
        if endpoint is not None and kind in (CandidateKind.HOST, CandidateKind.OBSERVED):
            found.append(Candidate(CandidateKind(kind), endpoint))
    return tuple(found)


def _pack_nat(nat: Nat) -> int:
    return nat.step << 4 | nat.mapping


def _read_nat(number: int) -> Nat:
    step, mapping = divmod(number, 1 << 4)
    return Nat(NatMapping(mapping), step) if mapping in NatMapping.__members__.values() else Nat()


def _read_observed(frame: memoryview) -> ObservedAs:
    _, stun_port = _OBSERVED.unpack_from(frame)
    endpoint, _ = _read_endpoint(frame, _OBSERVED.size)
    if endpoint is None:
        raise ValueError
    return ObservedAs(endpoint, stun_port)


def _read_announce(frame: memoryview) -> Announce:
    _, sequence, nat, count = _ANNOUNCE.unpack_from(frame)
    return Announce(sequence, _read_nat(nat), _read_candidates(frame, _ANNOUNCE.size, count))


def _read_introduce(frame: memoryview) -> Introduce:
    _, attempt, flags, peer, nat, count = _INTRODUCE.unpack_from(frame)
    candidates = _read_candidates(frame, _INTRODUCE.size, count)
    return Introduce(attempt, bool(flags & _YOU_ASKED), peer, _read_nat(nat), candidates)


def _read_not_available(frame: memoryview) -> NotAvailable:
    _, attempt, peer, reason = _NOT_AVAILABLE.unpack_from(frame)
    return NotAvailable(attempt, peer, Reason(reason))


def _read_probe_reply(frame: memoryview) -> ProbeReply:
    _, challenge = _PROBE.unpack_from(frame)
    return ProbeReply(challenge, _read_endpoint(frame, _PROBE.size)[0])


def _read_expect(frame: memoryview) -> Expect:
    _, rule, step = _EXPECT.unpack_from(frame)
    endpoint, _ = _read_endpoint(frame, _EXPECT.size)
    if endpoint is None:
        raise ValueError
    return Expect(PortRule(rule), step, endpoint)


_READERS: dict[FrameKind, Callable[[memoryview], Frame]] = {
    FrameKind.OBSERVED: _read_observed,
    FrameKind.ANNOUNCE: _read_announce,
    FrameKind.ANNOUNCE_ACK: lambda frame: AnnounceAck(*_ANNOUNCE_ACK.unpack_from(frame)[1:]),
    FrameKind.CONNECT: lambda frame: Connect(*_CONNECT.unpack_from(frame)[1:]),
    FrameKind.INTRODUCE: _read_introduce,
    FrameKind.NOT_AVAILABLE: _read_not_available,
    FrameKind.PROBE: lambda frame: Probe(*_PROBE.unpack_from(frame)[1:]),
    FrameKind.PROBE_REPLY: _read_probe_reply,
    FrameKind.CHANNEL: lambda frame: OpenChannel(*_CHANNEL.unpack_from(frame)[1:]),
    FrameKind.CHANNEL_ACK: lambda frame: ChannelOpened(*_CHANNEL_ACK.unpack_from(frame)[1:]),
    FrameKind.GOODBYE: lambda _frame: Goodbye(),
    FrameKind.EXPECT: _read_expect,
}
