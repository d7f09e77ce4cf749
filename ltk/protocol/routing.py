"""Tunnel address to peer, by the longest prefix: WireGuard's crypto-routing table.

The same table answers both questions: which peer a packet goes to, by its destination, and
whether a peer may use an address, by the source of what it sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

Target = TypeVar("Target")

_CACHED_ADDRESSES = 4096  # entries; a full cache is emptied, so that a scan cannot fill the memory


class RoutingTable(Generic[Target]):
    """A map from prefixes of both families to targets."""

    __slots__ = ("_cache", "_families")

    def __init__(self, routes: Iterable[tuple[IPv4Network | IPv6Network, Target]] = ()) -> None:
        """Take the routes; where two have the same prefix, the later one counts."""
        # By the size of an address in bytes: host bits -> (prefix -> target), longest prefix first.
        self._families: dict[int, dict[int, dict[int, Target]]] = {4: {}, 16: {}}
        self._cache: dict[bytes, Target | None] = {}
        for network, target in routes:
            self._insert(network, target)
        for size in self._families:
            self._sort(size)

    def add(self, network: IPv4Network | IPv6Network, target: Target) -> None:
        """Take one more route; one with the same prefix no longer counts."""
        size = network.max_prefixlen // 8
        known = len(self._families[size])
        self._insert(network, target)
        if len(self._families[size]) > known:
            self._sort(size)
        self._cache.clear()

    def replace(self, network: IPv4Network | IPv6Network, old: Target, new: Target) -> None:
        """Lead to `new` what has led to `old`: where `network` does not, nothing changes."""
        prefixes = self._families[network.max_prefixlen // 8]
        host_bits = network.max_prefixlen - network.prefixlen
        if prefixes[host_bits].get(int(network.network_address) >> host_bits) is old:
            self._insert(network, new)
            self._cache.clear()

    def _insert(self, network: IPv4Network | IPv6Network, target: Target) -> None:
        host_bits = network.max_prefixlen - network.prefixlen
        prefixes = self._families[network.max_prefixlen // 8].setdefault(host_bits, {})
        prefixes[int(network.network_address) >> host_bits] = target

    def _sort(self, size: int) -> None:
        self._families[size] = dict(sorted(self._families[size].items()))

    def lookup(self, address: bytes) -> Target | None:
        """Return the target of the longest prefix that holds `address` (4 or 16 bytes)."""
        try:
            return self._cache[address]
        except KeyError:
            pass
        if len(self._cache) >= _CACHED_ADDRESSES:
            self._cache.clear()
        target = self._search(address)
        self._cache[address] = target
        return target

    def claims(self, address: bytes) -> bool:
        """Return whether any prefix but a default route holds `address` (4 or 16 bytes)."""
        number = int.from_bytes(address, "big")
        return any(
            number >> host_bits in prefixes
            for host_bits, prefixes in self._families[len(address)].items()
            if host_bits < 8 * len(address)
        )

    def _search(self, address: bytes) -> Target | None:
        number = int.from_bytes(address, "big")
        for host_bits, prefixes in self._families[len(address)].items():
            target = prefixes.get(number >> host_bits)
            if target is not None:
                return target
        return None
