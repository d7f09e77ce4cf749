"""A network out of one secret: every key follows from it, so that nothing has to be exchanged.

    seed              scrypt(secret, salt = "ltk network 1 " + the subnet, N = 2^15, r = 8, p = 3), 32 bytes
    private key       HKDF-Expand(seed, "ltk node key" + 0 + the tunnel address, 4 or 16 bytes), clamped
    pre-shared key    HKDF-Expand(seed, "ltk pre-shared key")

scrypt is RFC 7914; HKDF-Expand is RFC 5869, section 2.3, with HMAC-BLAKE2s and 32 bytes of output, so that
one block is all of it. (The first step, Extract, is left out as section 3.3 allows: the seed is uniform.)
The subnet is in the salt: the same secret on another subnet is another network, with other keys.

Whoever holds the secret can compute every private key, and so pose as every node.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ltk.protocol.primitives import hmac_of, private_key_from_random

# Who records one handshake can try secrets on it. So each try costs this much: 32 MiB, which a small router
# has, and about a third of a second. OWASP's cheat sheet on password storage names this as one of the
# settings that are as hard as N = 2^17 with p = 1, which it asks for first.
SCRYPT_N = 1 << 15
SCRYPT_R = 8
SCRYPT_P = 3
_SCRYPT_MEMORY = 1 << 26  # bytes that OpenSSL may use: 128 * N * r, and some more

_SEED_SIZE = 32  # bytes
_SALT = b"ltk network 1 "  # the number changes when anything about the derivation does
_NODE = b"ltk node key\0"
_PRESHARED = b"ltk pre-shared key"


class SharedSecret:
    """What a network's shared secret has become: the seed of all its keys, which never shows."""

    __slots__ = ("_seed", "subnet")

    def __init__(self, secret: bytes, subnet: IPv4Network | IPv6Network) -> None:
        """Take the secret, any bytes at all, and the tunnel's subnet (its first, where it has two).

        This is slow on purpose, see SCRYPT_N.
        """
        self.subnet = subnet
        self._seed = hashlib.scrypt(
            secret,
            salt=_SALT + str(subnet).encode("ascii"),
            n=SCRYPT_N,
            r=SCRYPT_R,
            p=SCRYPT_P,
            maxmem=_SCRYPT_MEMORY,
            dklen=_SEED_SIZE,
        )

    def __repr__(self) -> str:
        return f"SharedSecret(subnet={str(self.subnet)!r})"

    def private_key(self, address: IPv4Address | IPv6Address) -> bytes:
        """Return the private key of the node with this tunnel address (its first, where it has two)."""
        return private_key_from_random(self._expand(_NODE + address.packed))

    @property
    def preshared_key(self) -> bytes:
        """The pre-shared key of all pairs."""
        return self._expand(_PRESHARED)

    def _expand(self, information: bytes) -> bytes:
        return hmac_of(self._seed, information, b"\x01")
