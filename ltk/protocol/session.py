"""One key pair: sealing and opening, its counters, its age and its limits.

The limits are those of the WireGuard paper, section 6.1 and 6.2. `Session` knows no peer and no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ltk.protocol.drops import Drop
from ltk.protocol.messages import (
    DATA_HEADER_SIZE,
    TAG_SIZE,
    Buffer,
    Kind,
    pack_data_header_into,
    unpack_data_header,
)
from ltk.protocol.noise import TransportKeys
from ltk.protocol.primitives import Aead, NotAuthenticError, counter_nonce
from ltk.protocol.replay import ReplayWindow

SealInto = Callable[[bytes, Buffer, None, memoryview], int]  # (nonce, data, no associated data, into)

_DATA = int(Kind.DATA)  # as a plain number: to look it up with each packet takes 0.2 us

REKEY_AFTER_MESSAGES = 1 << 60
REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13) - 1
REKEY_AFTER_TIME = 120.0  # seconds, as all ages here
REJECT_AFTER_TIME = 180.0

# A packet sealed in the last moments would reach a peer for which the session has already ended. WireGuard
# loses it; here it waits for the next session instead. The size is that of one attempt at a handshake.
STOP_SENDING_AFTER_TIME = REJECT_AFTER_TIME - 5.0


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What opens the data messages of one session with `peer`, in both directions.

    What has the receiver's index `index` was sealed with `receive`, what has `receiver`, with `send`.
    """

    peer: str
    index: int
    receiver: int
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


class Session:
    """Both directions of one key pair, and the index by which each side knows it.

    `created` is the engine's clock when the keys were derived. `heard` says that the peer has used the
    session, which for a responder is the proof that the peer holds it.
    """

    __slots__ = (
        "__weakref__",
        "_keys",
        "_open_into",
        "_receiver",
        "_seal_into",
        "_sent",
        "_window",
        "created",
        "heard",
        "index",
        "initiator",
    )

    def __init__(
        self, index: int, receiver: int, keys: TransportKeys, *, initiator: bool, created: float
    ) -> None:
        """Take the own index and the peer's (`receiver`); `initiator` tells who started the handshake."""
        self.index = index
        self.initiator = initiator
        self.created = created
        self.heard = False
        self._receiver = receiver
        self._keys = keys
        self._seal_into = Aead(keys.send).encrypt_into
        self._open_into = Aead(keys.receive).decrypt_into
        self._sent = 0
        self._window = ReplayWindow()

    def __repr__(self) -> str:
        role = "initiator" if self.initiator else "responder"
        return f"Session(index={self.index:#010x}, {role}, created={self.created:.3f})"

    def disclose(self, peer: str) -> SessionKeys:
        """Return the keys, for somebody who may read this process's memory anyway."""
        return SessionKeys(peer, self.index, self._receiver, self._keys.send, self._keys.receive)

    @property
    def sent(self) -> int:
        """The number of messages sealed, which is the next counter."""
        return self._sent

    def may_send(self, now: float) -> bool:
        """Return whether the session may still seal."""
        return now - self.created < STOP_SENDING_AFTER_TIME and self._sent < REJECT_AFTER_MESSAGES

    def may_receive(self, now: float) -> bool:
        """Return whether the session may still open."""
        return now - self.created < REJECT_AFTER_TIME

    def wants_rekey(self, now: float) -> bool:
        """Return whether whoever sends on it should ask for a new one."""
        return self._sent >= REKEY_AFTER_MESSAGES or (
            self.initiator and now - self.created >= REKEY_AFTER_TIME
        )

    def seal(self, payload: Buffer, out: memoryview) -> bool:
        """Seal a payload into a datagram that fills `out`, which is `DATA_OVERHEAD` longer.

        Return False at the limit of messages. Padding is the caller's; the two may not overlap.
        """
        counter = self._sent
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        # Counted before it is used: whatever is raised between, no nonce is used twice.
        self._sent = counter + 1
        pack_data_header_into(out, 0, _DATA, self._receiver, counter)
        self._seal_into(counter_nonce(counter), payload, None, out[DATA_HEADER_SIZE:])
        return True

    def begin_burst(self, count: int) -> tuple[int, int, SealInto] | None:
        """Take `count` counters; return the receiver's index, the first of them, and what seals with each.

        None where there are not as many left. What is taken and not used is lost, and does no harm.
        """
        first = self._sent
        if first + count > REJECT_AFTER_MESSAGES:
            return None
        self._sent = first + count
        return self._receiver, first, self._seal_into

    def open(self, datagram: Buffer, into: memoryview) -> int | Drop:
        """Open a datagram of this session, of at least `DATA_OVERHEAD` bytes; return the payload's size.

        `into` has room for the payload, and no meaningful content where the datagram was dropped.
        """
        counter: int = unpack_data_header(datagram)[2]
        if counter >= REJECT_AFTER_MESSAGES:
            return Drop.SESSION_EXPIRED
        sealed = memoryview(datagram)[DATA_HEADER_SIZE:]
        size = len(sealed) - TAG_SIZE
        try:
            self._open_into(counter_nonce(counter), sealed, None, into[:size])
        except NotAuthenticError:
            return Drop.NOT_AUTHENTIC
        return size if self._window.accept(counter) else Drop.REPLAYED

    @property
    def open_into(self) -> SealInto:
        """What opens sealed bytes with a nonce; nothing of it counts before `accept_burst`."""
        return self._open_into

    def accept_burst(self, counters: tuple[int, ...]) -> bool:
        """Note the counters of datagrams that were opened, if all are new; all, or none."""
        return counters[-1] < REJECT_AFTER_MESSAGES and self._window.accept_burst(counters)
