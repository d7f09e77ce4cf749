"""Who may become a peer without being configured: with a shared secret, every address of its subnet.

All public keys are computed at the start, since only the whole list leads from a key to its address: 254 of a
/24 in some 20 ms, 4094 of a /20 in some 300 ms.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from ipaddress import ip_network
from typing import Protocol

from ltk.protocol.config import IPAddress, PeerConfig
from ltk.protocol.primitives import public_key_of
from ltk.protocol.shared_secret import SharedSecret

MOST_ADDRESS_BITS = 12  # of a subnet whose every address may be a node: a /20 of IPv4, a /116 of IPv6


class Directory(Protocol):
    """Knows everybody who may come. It is asked, and always answers the same."""

    def of_key(self, public_key: bytes) -> PeerConfig | None:
        """Return the peer that would have this public key; None where nobody would."""

    def of_address(self, address: bytes) -> PeerConfig | None:
        """Return the peer that would have this tunnel address (4 or 16 bytes); None where nobody would."""


class SubnetDirectory:
    """The addresses of the shared secret's subnet, each with the key that follows from it."""

    def __init__(self, secret: SharedSecret, like: PeerConfig, *, but: Container[IPAddress]) -> None:
        """Everybody is as `like`, under a name, a key and an address of its own, `but` these: they are known.

        Raises ValueError for a subnet of more than 2^MOST_ADDRESS_BITS addresses.
        """
        subnet = secret.subnet
        if subnet.max_prefixlen - subnet.prefixlen > MOST_ADDRESS_BITS:
            raise ValueError(f"{subnet} has too many addresses to know all keys")
        hosts: Iterable[IPAddress] = subnet.hosts()
        self._like = replace(like, preshared_key=secret.preshared_key)
        self._addresses = {
            public_key_of(secret.private_key(address)): address for address in hosts if address not in but
        }
        self._keys = {address.packed: key for key, address in self._addresses.items()}

    def of_key(self, public_key: bytes) -> PeerConfig | None:
        """Return the peer with this public key, named by its address."""
        address = self._addresses.get(public_key)
        if address is None:
            return None
        return replace(
            self._like, name=str(address), public_key=public_key, allowed_ips=(ip_network(address),)
        )

    def of_address(self, address: bytes) -> PeerConfig | None:
        """Return the peer with this tunnel address."""
        key = self._keys.get(address)
        return None if key is None else self.of_key(key)
