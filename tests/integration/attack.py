"""What an attacker can do who sees the whole internet of a lab and may write any source address.

Whoever attacks knows all public keys, and what has passed on the cables; of keys it has only its own.
Everything is made from that, and sent a bounded number of times.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from captures import Datagram
from harness import Lab

from ltk.kernel import netns
from ltk.protocol import stun
from ltk.protocol.cookie import MacWriter
from ltk.protocol.frames import (
    Candidate,
    CandidateKind,
    Goodbye,
    Introduce,
    Nat,
    NatMapping,
    ObservedAs,
    Probe,
    ProbeReply,
    pack_frame,
)
from ltk.protocol.messages import (
    DATA_OVERHEAD,
    CookieReply,
    Endpoint,
    Initiation,
    Kind,
    Response,
    pack_cookie_reply,
    pack_initiation,
    pack_response,
    pack_timestamp,
    relayed,
)
from ltk.protocol.noise import Initiator, TransportKeys
from ltk.protocol.primitives import PrivateKey
from ltk.protocol.session import Session

RATE = 2000  # datagrams a second in all
PORTION = 20  # of them at once
MOST = 6000  # datagrams of one attack
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct("!HHHH")
_TTL = 64


class Node(NamedTuple):
    """Whom the attack is for: its addresses in the tunnel and on the underlay, and its public key."""

    address: str
    endpoint: Endpoint
    public_key: bytes


class Impostor(PrivateKey):
    """Somebody else's public key, without the private one."""

    def __init__(self, public: bytes) -> None:
        super().__init__(os.urandom(32))
        self.public = public


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was overheard, and what can be read off it without a key."""

    datagrams: Sequence[Datagram]

    def sent_to(self, node: Node) -> Iterator[bytes]:
        """The payloads that went to a node."""
        for each in self.datagrams:
            if (each.target, each.target_port) == node.endpoint:
                yield each.payload

    def sent_by(self, node: Node) -> Iterator[bytes]:
        """The payloads that came from it."""
        for each in self.datagrams:
            if (each.source, each.port) == node.endpoint:
                yield each.payload

    def channels(self, node: Node) -> set[int]:
        """The relay's channels that the node uses."""
        both = (*self.sent_to(node), *self.sent_by(node))
        return {int.from_bytes(each[4:8], "little") for each in both if each[0] == Kind.RELAYED}

    def sessions(self, node: Node) -> set[int]:
        """The indices under which the node knows its sessions."""
        bare = (each[8:] if each[0] == Kind.RELAYED else each for each in self.sent_to(node))
        return {int.from_bytes(each[4:8], "little") for each in bare if each[:1] == bytes([Kind.DATA])}

    def requests(self, node: Node) -> list[bytes]:
        """What the node asked for by STUN."""
        return [each for each in self.sent_by(node) if each[4:8] == bytes.fromhex("2112a442")]


def replayed(recorded: Recorded, attacker: Endpoint) -> list[Datagram]:
    """Everything again, from where it came from and from where the attacker is."""
    return [
        *recorded.datagrams,
        *(each._replace(source=attacker.address, port=attacker.port) for each in recorded.datagrams),
    ]


def forged(recorded: Recorded, nodes: Sequence[Node], attacker: Endpoint, count: int) -> list[Datagram]:
    """`count` rounds of every message that can be made up, to each node, as from anybody."""
    made = []
    for node in nodes:
        others = [each for each in nodes if each is not node]
        sources = [attacker, *(each.endpoint for each in others)]
        for number in range(count):
            source, other = sources[number % len(sources)], others[number % len(others)]
            made += [
                Datagram(source.address, source.port, node.endpoint.address, node.endpoint.port, payload)
                for payload in (
                    *handshakes(recorded, node, other),
                    *sealed(recorded, node, other, attacker),
                    *through_the_relay(recorded, node),
                    *answers_of_stun(recorded, node, attacker),
                    *junk(),
                )
            ]
    return made


def handshakes(recorded: Recorded, node: Node, other: Node) -> Iterator[bytes]:
    """Messages 1 to 3: from a stranger, in another node's name, and with nothing right but the mac."""
    macs = MacWriter(node.public_key)
    for identity in (PrivateKey(os.urandom(32)), Impostor(other.public_key)):
        noise = Initiator(identity, node.public_key, PrivateKey(os.urandom(32)))
        static = PrivateKey(os.urandom(32)).shared_with(node.public_key)
        parts = noise.write_initiation(static, pack_timestamp(time.time_ns()))
        message = pack_initiation(Initiation(_index(), *parts))
        yield macs.write(message, 0.0)
        yield message + os.urandom(32)
    for index in (_index(), *recorded.sessions(node)):
        response = pack_response(Response(_index(), index, os.urandom(32), os.urandom(16)))
        yield macs.write(response, 0.0)
        yield pack_cookie_reply(CookieReply(index, os.urandom(24), os.urandom(32)))


def sealed(recorded: Recorded, node: Node, other: Node, attacker: Endpoint) -> Iterator[bytes]:
    """What the node would obey, under the index of a real session and a key of the attacker's; and bare."""
    here = (Candidate(CandidateKind.OBSERVED, attacker),)
    frames = (
        Probe(os.urandom(8)),
        ProbeReply(os.urandom(8), attacker),
        ObservedAs(attacker, 0),
        Introduce(1 << 60, False, other.public_key, Nat(NatMapping.NONE), here),
        Goodbye(),
    )
    payloads = [b"", *(pack_frame(frame) for frame in frames), _echo_request(other, node)]
    for index in (_index(), *recorded.sessions(node)):
        keys = TransportKeys(os.urandom(32), os.urandom(32))
        session = Session(0, index, keys, initiator=True, created=0.0)
        for payload in payloads:
            out = bytearray(len(payload) + DATA_OVERHEAD)
            session.seal(payload, memoryview(out))
            yield bytes(out)
    yield from payloads[1:]


def through_the_relay(recorded: Recorded, node: Node) -> Iterator[bytes]:
    """Relayed datagrams and notices, with channels that exist and such as do not."""
    for channel in (_index(), *recorded.channels(node)):
        yield relayed(channel)
        yield relayed(channel, os.urandom(200))
        for index in recorded.sessions(node):
            yield relayed(channel, struct.pack("<IIQ", Kind.DATA, index, 1 << 20) + os.urandom(100))


def answers_of_stun(recorded: Recorded, node: Node, attacker: Endpoint) -> Iterator[bytes]:
    """Answers that put the attacker in the place of the node, to what was asked and to what was not."""
    for request in (stun.binding_request(os.urandom(12)), *recorded.requests(node)[-1:]):
        answer = stun.answer(memoryview(request), attacker)
        assert answer is not None
        yield answer


def junk() -> Iterator[bytes]:
    """Bytes of every length, and such as begin as a message does and end too soon."""
    for kind in (*Kind, 0):
        if kind is not Kind.STUN:
            yield bytes([kind, 0, 0, 0]) + os.urandom(5)
            yield os.urandom(random.randrange(1, 1400))


def fire(lab: Lab, place: str, shots: Iterable[Datagram]) -> int:
    """Send from inside of `place` at RATE, each from the source that it names; return how many."""
    sent = 0
    with netns.inside(lab.scope(place)):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        begun = time.monotonic()
        for shot in shots:
            raw.sendto(_packet(shot), (shot.target, 0))
            sent += 1
            assert sent <= MOST, "more than an attack of the tests may send"
            if sent % PORTION == 0:
                time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))  # the rate of the flood
    return sent


def let_pass_any_source(lab: Lab, places: Mapping[str, Sequence[str]]) -> None:
    """Have the routers carry spoofed packets, whatever this machine does by default."""
    for place, devices in places.items():
        for device in ("all", *devices):
            lab.run(place, "sysctl", "-q", "-w", f"net.ipv4.conf.{device}.rp_filter=0")


def _packet(shot: Datagram) -> bytes:
    """The IP packet; the kernel fills in its length, identification and checksum. UDP goes without one."""
    source, target = socket.inet_aton(shot.source), socket.inet_aton(shot.target)
    header = _IP_HEADER.pack(0x45, 0, 0, 0, 0, _TTL, socket.IPPROTO_UDP, 0, source, target)
    return header + _UDP_HEADER.pack(shot.port, shot.target_port, 8 + len(shot.payload), 0) + shot.payload


def _echo_request(source: Node, target: Node) -> bytes:
    """A whole IP packet, as one node sends it to another through the tunnel."""
    icmp = struct.pack("!BBHHH", 8, 0, 0, 0xBAD, 0xBAD) + bytes(64)
    addresses = socket.inet_aton(source.address), socket.inet_aton(target.address)
    return _IP_HEADER.pack(0x45, 0, 20 + len(icmp), 0, 0, _TTL, socket.IPPROTO_ICMP, 0, *addresses) + icmp


def _index() -> int:
    return int.from_bytes(os.urandom(4), "little")
