"""Where the datagrams for one client go, as long as this path is in use and that relay is open.

What is lost or found, and why, is decided in paths.
"""

from __future__ import annotations

from collections.abc import Sequence

from ltk.protocol.active import Active
from ltk.protocol.config import PathPolicy, PeerConfig
from ltk.protocol.events import PathChanged
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint, Place, Relay
from ltk.protocol.path import Path


class Ways:
    """The direct path in use, the relay, and what each is used for.

    `places` is where a datagram with data goes: each of them gets a copy.
    """

    __slots__ = ("_active", "_config", "_local", "places", "relay")

    def __init__(self, config: PeerConfig, local: Local) -> None:
        self._config = config
        self._local = local
        self._active: Active | None = None
        self.places: tuple[Place, ...] = ()
        self.relay: Relay | None = None

    @property
    def active(self) -> Endpoint | None:
        """The direct path that carries data."""
        return None if self._active is None else self._active.path.endpoint

    def for_handshake(self, *, urgent: bool) -> Sequence[Place]:
        """Where handshakes go: everywhere, since they prove nothing and duplicates do no harm.

        Those that are not `urgent` keep to a path that is not in doubt, so that idle pairs cost the server
        nothing.
        """
        active, direct = self._active, self.active
        if active is not None and not active.doubted and not urgent:
            return (active.path.endpoint,)
        if direct is None and self._config.may_be_direct:
            direct = self._config.endpoint
        return tuple(place for place in (direct, self.relay) if place is not None)

    def for_answer(self, source: Place) -> Sequence[Place]:
        """Where the answer to a handshake from `source` goes."""
        active = self._active
        if active is not None and source == active.path.endpoint and not active.doubted:
            return (source,)
        return tuple({source: None, **dict.fromkeys(self.for_handshake(urgent=True))})

    @property
    def for_frames(self) -> Sequence[Place]:
        """Where frames go: as data does, but by the relay where data may not take it."""
        return self.places or (() if self.relay is None else (self.relay,))

    def for_goodbye(self) -> Sequence[Place]:
        """Where the last word goes."""
        return tuple(place for place in (self.active, self.relay) if place is not None)

    @property
    def _socket(self) -> int:
        """The socket of the active path."""
        return 0 if self._active is None else self._active.path.endpoint.socket

    @property
    def _active_path(self) -> Path | None:
        return None if self._active is None else self._active.path

    def _refresh(self, reason: str) -> None:
        """Work out anew where data goes."""
        before = self.places
        relay = None if self._config.path is PathPolicy.DIRECT_ONLY else self.relay
        active = self._active
        if active is None:
            self.places = () if relay is None else (relay,)
        elif relay is not None and (active.doubted or active.mirrored):
            self.places = (active.path.endpoint, relay)
        else:
            self.places = (active.path.endpoint,)
        old, new = (places[0] if places else None for places in (before, self.places))
        if old != new and not (isinstance(old, Relay) and isinstance(new, Relay)):
            self._local.outbox.events.append(PathChanged(self._config.name, old, new, reason))
