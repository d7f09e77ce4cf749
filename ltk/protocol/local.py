"""What all peers of an engine share: the node's identity, its clock on the wire, its indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ltk.protocol.messages import Buffer, pack_timestamp
from ltk.protocol.outbox import Outbox
from ltk.protocol.primitives import PrivateKey
from ltk.protocol.session import Session
from ltk.protocol.timers import TimerQueue

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

_PADDING = 16  # bytes; WireGuard paper, section 5.4.6
_LARGEST_PACKET = 1 << 16


class Local:
    """The node's side of every session and handshake."""

    __slots__ = (
        "_last_timestamp",
        "_scratch",
        "_wall_offset",
        "handshakes",
        "identity",
        "mtu",
        "outbox",
        "queue",
        "random",
        "sessions",
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
        self._wall_offset = wall_clock - now
        self._last_timestamp = 0
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
