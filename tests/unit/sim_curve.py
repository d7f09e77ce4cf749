"""A curve that protects nothing and costs nothing, for tests of order that make thousands of handshakes.

The public key is a fixed offset from the private one, and the shared secret a hash of the sum of
both private keys: both sides compute the same, which is all that an order of messages depends on.
"""

from __future__ import annotations

from hashlib import blake2s

import pytest

from ltk.protocol.primitives import PrivateKey

_OFFSET = 9
_MODULUS = 1 << 256


def _take(self: PrivateKey, private: bytes) -> None:
    number = int.from_bytes(private, "little")
    self._key = number
    self.public = ((number + _OFFSET) % _MODULUS).to_bytes(32, "little")


def _share(self: PrivateKey, public: bytes) -> bytes:
    total = (int(self._key) + int.from_bytes(public, "little")) % _MODULUS
    return blake2s(total.to_bytes(32, "little")).digest()


def use_toy_curve(patch: pytest.MonkeyPatch) -> None:
    """Let all private keys made from now on be toys, as long as `patch` lasts."""
    patch.setattr(PrivateKey, "__init__", _take)
    patch.setattr(PrivateKey, "shared_with", _share)
