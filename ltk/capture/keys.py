"""Which keys open a data message: those that daemons have told, and tell again when there is a new session.

A session's keys are known from the moment at which they are asked for. So all are asked for at the start,
and once more when a message bears an index that is not known: then there has been a handshake since, and both
sides still have its keys. What is nobody's here is not asked for again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from ltk.errors import LtkError
from ltk.protocol.primitives import Aead
from ltk.protocol.session import SessionKeys

ASK_EVERY = 0.05  # seconds at the least between two questions to one daemon, whatever passes by
FOREIGN_FOR = 1.0  # seconds in which an index that was not known is not asked for again
MAX_FOREIGN = 4096  # such indices are remembered

Ask = Callable[[], Sequence[SessionKeys]]


class NodeKeys:
    """The keys that one daemon tells, by the index that a message bears."""

    def __init__(self, node: str, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        """`ask()` fetches them, and raises LtkError where the daemon does not answer."""
        self.node = node
        self.problem: str | None = None  # why it has not told, the last time
        self._ask = ask
        self._clock = clock
        self._by_index: dict[int, dict[bytes, Aead]] = {}  # and by the key itself: none is there twice
        self._foreign: dict[int, float] = {}  # until when
        self._asked = float("-inf")

    def fetch(self) -> None:
        """Learn the keys of all sessions that there are now. Raises LtkError."""
        self._asked = self._clock()
        for each in self._ask():
            for index, key in ((each.index, each.receive), (each.receiver, each.send)):
                known = self._by_index.setdefault(index, {})
                if key not in known:
                    known[key] = Aead(key)
        self.problem = None

    def known(self, index: int) -> Iterable[Aead]:
        """What may open a message with this index, of what has been told so far."""
        return self._by_index.get(index, {}).values()

    def look_for(self, index: int) -> None:
        """Ask whether there is a new session with this index, unless that was asked just now."""
        now = self._clock()
        if now < self._asked + ASK_EVERY or now < self._foreign.get(index, float("-inf")):
            return
        try:
            self.fetch()
        except LtkError as error:
            self.problem = str(error)
        if index not in self._by_index:
            if len(self._foreign) >= MAX_FOREIGN:
                self._foreign.clear()
            self._foreign[index] = now + FOREIGN_FOR


class Ring:
    """The keys of the nodes that stand at one place."""

    def __init__(self, nodes: Sequence[NodeKeys]) -> None:
        self.nodes = nodes

    def ciphers(self, index: int) -> Iterator[Aead]:
        """Yield what may open a message with this index; what is known comes first."""
        known = [each for node in self.nodes for each in node.known(index)]
        yield from known
        if not known:
            for node in self.nodes:
                node.look_for(index)
                yield from node.known(index)
