"""The peers of an engine, by public key: those of its configuration, and those who have turned up since.

With a directory a peer comes into being when there is a reason: a packet for its address, a handshake that
proves its key, or the word of somebody who has proven one. Then it is as good as configured. Nothing is kept
of whoever has proven nothing, and there are never more peers than the directory knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ltk.protocol.config import PeerConfig
from ltk.protocol.directory import Directory
from ltk.protocol.events import PeerRegistered
from ltk.protocol.local import Local
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import LowOrderKeyError
from ltk.protocol.routing import RoutingTable

if TYPE_CHECKING:
    from ltk.protocol.surroundings import Broker


class Roster(dict[bytes, Peer]):
    """What is in it are the peers that there are; `find` and `at` may add to them."""

    def __init__(self, local: Local, directory: Directory | None) -> None:
        """Have nobody yet; whoever is added by `find` or `at` gets `broker`, which has to be set before."""
        super().__init__()
        self._local = local
        self._directory = directory
        self._newcomers: dict[bytes, PeerConfig] = {}  # those who are not configured
        self.broker: Broker

    def find(self, public_key: bytes) -> Peer | None:
        """Return the peer with this key, which may become one by that; None for nobody's."""
        peer = self.get(public_key)
        if peer is None and self._directory is not None:
            config = self._directory.of_key(public_key)
            peer = None if config is None else self._add(config)
        return peer

    def at(self, address: bytes) -> Peer | None:
        """Return the peer that has this tunnel address (4 or 16 bytes) to itself, as `find` does.

        A server waits until somebody comes: it would not know where to look.
        """
        if self._directory is None or self._local.serves:
            return None
        config = self._directory.of_address(address)
        return None if config is None else self.get(config.public_key) or self._add(config)

    def expects(self, public_key: bytes) -> bool:
        """Whether this is the key of a peer, or of somebody who may become one. Adds nobody."""
        if public_key in self:
            return True
        return self._directory is not None and self._directory.of_key(public_key) is not None

    def static_shared(self, public_key: bytes) -> bytes | None:
        """Return the secret shared with the holder of this key; None for a key of low order. Adds nobody."""
        peer = self.get(public_key)
        if peer is not None:
            return peer.handshake.static_shared
        try:
            return self._local.identity.shared_with(public_key)
        except LowOrderKeyError:
            return None

    def _add(self, config: PeerConfig) -> Peer:
        self[config.public_key] = peer = Peer(config, self._local, self.broker)
        self._newcomers[config.public_key] = config
        for network in config.allowed_ips:
            self._local.routes.add(network, peer)
        self._local.outbox.events.append(PeerRegistered(config.name))
        return peer

    # Configuration.

    def keep_only(self, configured: Iterable[PeerConfig]) -> None:
        """Let go of those who were configured and no longer are; who has turned up stays."""
        keys = {config.public_key for config in configured}
        for key in keys & self._newcomers.keys():
            del self._newcomers[key]
        for key in self.keys() - keys - self._newcomers.keys():
            self.pop(key).close()

    def routes(self, configured: Iterable[PeerConfig]) -> RoutingTable[Peer]:
        """Return who has which addresses."""
        everybody = self.everybody(configured)
        return RoutingTable(
            (network, self[config.public_key]) for config in everybody for network in config.allowed_ips
        )

    def everybody(self, configured: Iterable[PeerConfig]) -> Iterator[PeerConfig]:
        """All peers: first those who are configured, then the others in the order of their coming."""
        yield from configured
        yield from self._newcomers.values()
