"""Seeing through the sealing: which frame a datagram carries, for wires that lose only some."""

from __future__ import annotations

import pytest
from sim import Simulation
from sim_net import Datagram

from ltk.protocol.messages import DATA_HEADER_SIZE, Buffer, FrameKind
from ltk.protocol.session import Session

_CHANNEL_HEADER = 8  # bytes in front of a relayed datagram
_RELAYED = 0x80


class Glass:
    """Notes what every session seals, by the header of the datagram: its receiver and counter."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._kinds: dict[bytes, int] = {}
        seal = Session.seal

        def noting(session: Session, payload: Buffer, out: memoryview) -> bool:
            sealed = seal(session, payload, out)
            self._kinds[bytes(out[:DATA_HEADER_SIZE])] = payload[0] if len(payload) else 0
            return sealed

        patch.setattr(Session, "seal", noting)

    def frame(self, data: bytes) -> FrameKind | None:
        """Return which control frame a datagram carries, relayed or not; None where it carries none."""
        start = _CHANNEL_HEADER if data[0] == _RELAYED else 0
        first = self._kinds.get(data[start : start + DATA_HEADER_SIZE], 0)
        return FrameKind(first) if first in FrameKind.__members__.values() else None

    def forget(self) -> None:
        """Forget all datagrams so far."""
        self._kinds.clear()

    def record(self, world: Simulation, *frames: FrameKind) -> list[tuple[float, str, FrameKind]]:
        """Note from now on each datagram on the internet that carries one of `frames`: when, whose, which."""
        seen: list[tuple[float, str, FrameKind]] = []
        wire = world.internet.wire
        before = wire.lose

        def look(datagram: Datagram) -> bool:
            frame = self.frame(datagram.data)
            if frame in frames:
                seen.append((world.now, datagram.origin, frame))
            return before is not None and before(datagram)

        wire.lose = look
        return seen
