"""What all peers of an engine share: the node's identity, its clock on the wire, its indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ltk.protocol.frames import NatMapping
from ltk.protocol.messages import (
    RELAY_HEADER_SIZE,
    Buffer,
    Endpoint,
    Kind,
    Place,
    Relay,
    pack_relay_header_into,
    pack_timestamp,
)
from ltk.protocol.outbox import Outbox
from ltk.protocol.primitives import PrivateKey
from ltk.protocol.routing import RoutingTable
from ltk.protocol.session import Session
from ltk.protocol.timers import TimerQueue

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

_PADDING = 16  # bytes; WireGuard paper, section 5.4.6
_LARGEST_PACKET = 1 << 16


class Local:
    """The node's side of every session and handshake."""

    __slots__ = (
        "_last_attempt",
        "_last_timestamp",
        "_scratch",
        "_wall_offset",
        "counts",
        "handshakes",
        "identity",
        "mapping",
        "mtu",
        "outbox",
        "queue",
        "random",
        "routes",
        "server",
        "serves",
        "sessions",
        "stun_port",
    )

    def __init__(
        self, identity: PrivateKey, mtu: int, *, now: float, wall_clock: float, random: Callable[[int], bytes]
    ) -> None:
        """`wall_clock` is Unix time in seconds at `now`; `random(n)` returns n unpredictable bytes."""
        self.identity = identity
        self.mtu = mtu
        self.random = random
        self.outbox = Outbox()
        self.queue = TimerQueue()
        self.sessions: dict[int, tuple[Peer, Session]] = {}  # by the own index
        self.handshakes: dict[int, Peer] = {}  # initiated and not yet answered, by the own index
        self.routes: RoutingTable[Peer] = RoutingTable()
        self.server: Peer | None = None  # the peer that relays for this node
        self.serves = False  # whether this node relays for others
        self.stun_port = 0  # its second one, for those
        self.mapping = NatMapping.UNKNOWN  # of the NAT in front of this node
        self.counts: Counter[str] = Counter()  # handshakes by result
        self._wall_offset = wall_clock - now
        self._last_timestamp = 0
        self._last_attempt = 0
        self._scratch = memoryview(bytearray(_LARGEST_PACKET + _PADDING))

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

    def send(self, datagram: bytes, place: Place) -> bool:
        """Queue a whole datagram; return False where the place is a relay that is nowhere yet."""
        room = memoryview(bytearray(RELAY_HEADER_SIZE + len(datagram)))
        room[RELAY_HEADER_SIZE:] = datagram
        return self.send_room(room, place)

    def send_room(self, room: memoryview, place: Place) -> bool:
        """Queue the datagram that lies in `room` behind RELAY_HEADER_SIZE free bytes, as `send` does."""
        if isinstance(place, Relay):
            if self.server is None or self.server.endpoint is None:
                return False
            pack_relay_header_into(room, 0, Kind.RELAYED, place.channel)
            self.outbox.transmit.append((room, self.server.endpoint, 0))
        else:
            self.outbox.transmit.append((room[RELAY_HEADER_SIZE:], place, 0))
        return True

    def jitter(self, most: float) -> float:
        """Return a random duration of up to `most` seconds."""
        return int.from_bytes(self.random(2), "little") / 0xFFFF * most

    def padded(self, payload: Buffer) -> Buffer:
        """Return the payload padded with zeros to a multiple of 16 bytes, but never past the MTU.

        The result is valid until the next call.
        """
        size = len(payload)
        padded_size = max(size, min(size + -size % _PADDING, self.mtu))
        if padded_size == size:
            return payload
        scratch = self._scratch
        scratch[:size] = payload
        scratch[size:padded_size] = bytes(padded_size - size)
        return scratch[:padded_size]
