"""The peers of an engine, by public key: those of its configuration, and those who have turned up since.

A peer that is owed nothing is known and has its addresses, and no more: most clients of a large network never
speak to each other. It comes into being when there is a reason: a packet for its address, a handshake that
proves its key, or the word of somebody who has proven one.

With a directory the same holds of all whom that knows. Who has turned up is as good as configured. Nothing is
kept of whoever has proven nothing, and there are never more peers than the directory knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING

from ltk.protocol.config import P2p, PeerConfig, PeerKind
from ltk.protocol.directory import Directory
from ltk.protocol.events import PeerRegistered
from ltk.protocol.local import Local
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import LowOrderKeyError
from ltk.protocol.routing import RoutingTable

if TYPE_CHECKING:
    from ltk.protocol.surroundings import Broker


class Roster(dict[bytes, Peer]):
    """What is in it are the peers that there are; `find`, `to` and `at` may add to them."""

    def __init__(self, local: Local, directory: Directory | None) -> None:
        """Have nobody yet; whoever is added gets `broker`, which has to be set before."""
        super().__init__()
        self._local = local
        self._directory = directory
        self._newcomers: dict[bytes, PeerConfig] = {}  # those who are not configured
        self._waiting: dict[bytes, PeerConfig] = {}  # those who are, and are no peers yet
        self._ranks: dict[bytes, int] = {}  # of those who are configured, in the order of that
        self.broker: Broker

    def find(self, public_key: bytes) -> Peer | None:
        """Return the peer with this key, which may become one by that; None for nobody's."""
        peer = self.get(public_key)
        if peer is None and (config := self._waiting.get(public_key)) is not None:
            return self._wake(config)
        if peer is None and self._directory is not None:
            config = self._directory.of_key(public_key)
            peer = None if config is None else self._add(config)
        return peer

    def to(self, address: bytes) -> Peer | None:
        """Return whose the longest prefix is that holds this tunnel address, as `find` does."""
        found = self._local.routes.lookup(address)
        return self._wake(found) if isinstance(found, PeerConfig) else found

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
        if self.is_known(public_key):
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

    def _wake(self, config: PeerConfig) -> Peer:
        """Make a peer of one that waits. Where another one has its prefix as well, that keeps it."""
        del self._waiting[config.public_key]
        self[config.public_key] = peer = Peer(config, self._local, self.broker)
        # What is done for all of them is done in the configuration's order, whoever has spoken first.
        rank = self._ranks[config.public_key]
        for key in [key for key in self if self._ranks.get(key, inf) > rank]:
            self[key] = self.pop(key)
        for network in config.allowed_ips:
            self._local.routes.replace(network, config, peer)
        return peer

    def shown(self, public_key: bytes) -> Peer | None:
        """Return the peer with this key, or what it would be. Adds nobody, for whoever only looks."""
        peer, waiting = self.get(public_key), self._waiting.get(public_key)
        return Peer(waiting, self._local, self.broker) if peer is None and waiting is not None else peer

    # Configuration.

    def take(self, config: PeerConfig) -> Peer | None:
        """Know one who is configured, and return the peer; None where it is none until there is a reason."""
        peer = self.get(config.public_key)
        if peer is None and self._may_wait(config):
            self._waiting[config.public_key] = config
        elif peer is None:
            self._waiting.pop(config.public_key, None)
            self[config.public_key] = peer = Peer(config, self._local, self.broker)
        return peer

    def _may_wait(self, config: PeerConfig) -> bool:
        """Whether nothing is owed to it: another client, who is not spoken to without data."""
        is_client = config.kind is PeerKind.CLIENT and not self._local.serves
        return is_client and not config.keepalive and config.p2p is not P2p.EAGER

    def is_known(self, public_key: bytes) -> bool:
        """Whether this is the key of a peer, or of one who is configured and waits."""
        return public_key in self or public_key in self._waiting

    def keep_only(self, configured: Iterable[PeerConfig]) -> None:
        """Let go of those who were configured and no longer are; who has turned up stays."""
        self._ranks = {config.public_key: rank for rank, config in enumerate(configured)}
        keys = self._ranks.keys()
        for key in keys & self._newcomers.keys():
            del self._newcomers[key]
        for key in self._waiting.keys() - keys:
            del self._waiting[key]
        for key in self.keys() - keys - self._newcomers.keys():
            self.pop(key).close()

    def routes(self, configured: Iterable[PeerConfig]) -> RoutingTable[Peer | PeerConfig]:
        """Return who has which addresses: a peer, or the configuration of one who is none yet."""
        everybody = self.everybody(configured)
        return RoutingTable(
            (network, self.get(config.public_key, config))
            for config in everybody
            for network in config.allowed_ips
        )

    def everybody(self, configured: Iterable[PeerConfig]) -> Iterator[PeerConfig]:
        """All peers: first those who are configured, then the others in the order of their coming."""
        yield from configured
        yield from self._newcomers.values()
