"""What all peers of an engine share: the node's identity, its clock on the wire, its indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ltk.protocol.burst import Cutter, Joiner
from ltk.protocol.frames import Nat
from ltk.protocol.messages import (
    Endpoint,
    Place,
    pack_timestamp,
    relayed,
)
from ltk.protocol.outbox import Outbox
from ltk.protocol.ports import Questions
from ltk.protocol.primitives import PrivateKey
from ltk.protocol.routing import RoutingTable
from ltk.protocol.session import Session
from ltk.protocol.sockets import Sockets
from ltk.protocol.streams import Streams
from ltk.protocol.timers import TimerQueue

if TYPE_CHECKING:
    from ltk.protocol.config import PeerConfig
    from ltk.protocol.peer import Peer

PADDING = 16  # bytes; WireGuard paper, section 5.4.6


class Local:
    """The node's side of every session and handshake."""

    __slots__ = (
        "_last_attempt",
        "_last_timestamp",
        "_wall_offset",
        "counts",
        "cutter",
        "handshakes",
        "identity",
        "joiner",
        "mtu",
        "nat",
        "observed",
        "offloads",
        "outbox",
        "questions",
        "queue",
        "random",
        "routes",
        "server",
        "serves",
        "sessions",
        "sockets",
        "streams",
        "stun_port",
        "stun_targets",
    )

    def __init__(
        self,
        identity: PrivateKey,
        mtu: int,
        *,
        now: float,
        wall_clock: float,
        random: Callable[[int], bytes],
        offloads: bool = False,
    ) -> None:
        """`wall_clock` is Unix time in seconds at `now`; `random(n)` returns n unpredictable bytes."""
        self.identity = identity
        self.mtu = mtu
        self.random = random
        self.outbox = Outbox()
        self.queue = TimerQueue()
        self.sessions: dict[int, tuple[Peer, Session]] = {}  # by the own index
        self.handshakes: dict[int, Peer] = {}  # initiated and not yet answered, by the own index
        self.routes: RoutingTable[Peer | PeerConfig] = RoutingTable()
        self.server: Peer | None = None  # the peer that relays for this node
        self.serves = False  # whether this node relays for others
        self.stun_port = 0  # its second one, for those
        self.nat = Nat()  # in front of this node
        self.observed: Endpoint | None = None  # where the server sees this node
        self.stun_targets: tuple[Endpoint, ...] = ()  # the server's STUN ports, the second one first
        self.sockets = Sockets()
        self.streams = Streams(self.queue)
        self.questions = Questions(self.outbox, random)
        self.counts: Counter[str] = Counter()  # handshakes by result
        self._wall_offset = wall_clock - now
        self._last_timestamp = 0
        self._last_attempt = 0
        self.offloads = offloads  # whether packets go in and out behind virtio headers, in super-packets
        self.cutter = Cutter()
        self.joiner = Joiner(takes_segments=offloads)

    def new_index(self) -> int:
        """Return an index that names no session and no handshake of this node."""
        while True:
            index = int.from_bytes(self.random(4), "little")
            if index not in self.sessions and index not in self.handshakes:
                return index

    def timestamp(self, now: float) -> bytes:
        """Return the TAI64N timestamp for an initiation sent at `now`: always newer than the last."""
        nanoseconds = int((self._wall_offset + now) * 1e9)
        self._last_timestamp = max(nanoseconds, self._last_timestamp + 1)
        return pack_timestamp(self._last_timestamp)

    def wall_clock(self, now: float) -> float:
        """Return Unix time at `now`, in seconds."""
        return self._wall_offset + now

    def attempt_number(self, now: float) -> int:
        """Return a number for an attempt that is newer than all before it, in earlier lives too."""
        self._last_attempt = max(int(self.wall_clock(now) * 1000), self._last_attempt + 1)
        return self._last_attempt

    def is_outside(self, endpoint: Endpoint) -> bool:
        """Return whether an endpoint that somebody else named may be one: not in the tunnel, not special.

        What the tunnel leads to cannot be where the tunnel goes. A default route is no such claim.
        """
        address = ip_address(endpoint.address.partition("%")[0])
        if not endpoint.port or address.is_unspecified or address.is_multicast or address.is_loopback:
            return False
        return not self.routes.claims(address.packed)

    @property
    def relay_endpoint(self) -> Endpoint | None:
        """Where relayed datagrams are sent to; None where there is no server, or it is nowhere yet."""
        return None if self.server is None else self.server.endpoint

    def is_server_at(self, source: Endpoint) -> bool:
        """Return whether this node's server is heard there, by whichever of its ways."""
        server = self.server
        if server is None or source == server.endpoint:
            return server is not None
        return server.transport is not None and server.transport.knows(source)

    def send(self, datagram: bytes, place: Place) -> bool:
        """Queue a whole datagram; return False where the place is a relay that is nowhere yet."""
        if isinstance(place, Endpoint):
            self.outbox.send(datagram, place)
            return True
        relay = self.relay_endpoint
        if relay is None:
            return False
        self.outbox.send(relayed(place.channel, datagram), relay)
        return True

    def jitter(self, most: float) -> float:
        """Return a random duration of up to `most` seconds."""
        return int.from_bytes(self.random(2), "little") / 0xFFFF * most

    def padded_size(self, size: int) -> int:
        """Return the size of a payload that is padded to a multiple of 16 bytes, but never past the MTU."""
        return max(size, min(size + -size % PADDING, self.mtu))

    def padded(self, payload: bytes) -> bytes:
        """Return a payload padded with zeros to that size."""
        return payload.ljust(self.padded_size(len(payload)), b"\0")
