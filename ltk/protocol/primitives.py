"""The cryptography that the protocol is made of, and the only module that imports `cryptography`.

BLAKE2s (RFC 7693), HMAC and HKDF on it (Noise, section 4.3), X25519 (RFC 7748), ChaCha20-Poly1305
(RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

Buffer = bytes | bytearray | memoryview

KEY_SIZE = 32  # bytes
HASH_SIZE = 32
MAC_SIZE = 16

NotAuthenticError = InvalidTag  # what opening raises on anything that was not sealed with this key

_BLAKE2S_BLOCK = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))

_NONCE = struct.Struct("<4xQ")
_ZERO_NONCE = bytes(12)
_WORDS = struct.Struct("<16I")
_EIGHT_WORDS = struct.Struct("<8I")
_FOUR_WORDS = struct.Struct("<4I")
_CHACHA_CONSTANTS = _FOUR_WORDS.unpack(b"expand 32-byte k")


class LowOrderKeyError(ValueError):
    """The public key has low order: the shared secret would be all zeros, whoever computes it."""


def hash_of(*parts: Buffer) -> bytes:
    """BLAKE2s with 32 bytes of output over the parts, one after the other."""
    digest = blake2s()
    for part in parts:
        digest.update(part)
    return digest.digest()


def keyed_mac(key: Buffer, message: Buffer) -> bytes:
    """Keyed BLAKE2s with 16 bytes of output: the paper's Mac."""
    return blake2s(message, key=key, digest_size=MAC_SIZE).digest()


def hmac_of(key: bytes, *parts: Buffer) -> bytes:
    """HMAC-BLAKE2s (RFC 2104); `key` is at most 64 bytes.

    Written out because the standard library's takes twice as long for messages this short.
    """
    block = key.ljust(_BLAKE2S_BLOCK, b"\0")
    inner = blake2s(block.translate(_INNER_PAD))
    for part in parts:
        inner.update(part)
    return blake2s(block.translate(_OUTER_PAD) + inner.digest()).digest()


def hkdf(chaining_key: bytes, material: Buffer, outputs: int) -> tuple[bytes, ...]:
    """HKDF (RFC 5869) as Noise uses it: one to three keys of 32 bytes."""
    secret = hmac_of(chaining_key, material)
    keys: list[bytes] = []
    last = b""
    for number in range(1, outputs + 1):
        last = hmac_of(secret, last, bytes((number,)))
        keys.append(last)
    return tuple(keys)


class PrivateKey:
    """An X25519 private key with its public key. Its bytes never show."""

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        """Take 32 bytes of which every value is a key: clamping is part of X25519."""
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"PrivateKey(public={encode_key(self.public)!r})"

    def shared_with(self, public: bytes) -> bytes:
        """Return the shared secret, 32 bytes; raise `LowOrderKeyError` where it would be zero."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise LowOrderKeyError("the shared secret is zero") from error


def private_key_from_random(random: bytes) -> bytes:
    """Return a private key, clamped as `wg genkey` stores it (RFC 7748, section 5), from 32 random bytes."""
    if len(random) != KEY_SIZE:
        raise ValueError(f"a private key is made of {KEY_SIZE} random bytes, not {len(random)}")
    return bytes((random[0] & 248, *random[1:31], random[31] & 127 | 64))


def public_key_of(private: bytes) -> bytes:
    """Return the public key that belongs to a private key."""
    return PrivateKey(private).public


def encode_key(key: bytes) -> str:
    """Return a key of 32 bytes as the 44 characters of base64 that `wg` prints."""
    return base64.b64encode(key).decode("ascii")


def decode_key(text: str) -> bytes:
    """Read a key as `wg` prints it, 44 characters of base64; raise ValueError on anything else.

    The message never repeats the text: it may be a secret.
    """
    stripped = text.strip()
    try:
        key = base64.b64decode(stripped.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    # The last character carries two bits that no key has: a second spelling is refused.
    if len(key) != KEY_SIZE or encode_key(key) != stripped:
        raise ValueError("a key is 44 characters of base64, as `wg genkey` prints them")
    return key


class Aead:
    """ChaCha20-Poly1305 under one key."""

    __slots__ = ("_cipher", "decrypt_into", "encrypt_into")

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        # The data path calls these bound methods: (nonce, data, associated_data, into) -> size. `into`
        # has exactly the size of the result and may not overlap the data.
        self.encrypt_into = self._cipher.encrypt_into
        self.decrypt_into = self._cipher.decrypt_into

    def seal(self, nonce: bytes, plaintext: Buffer, associated_data: Buffer) -> bytes:
        """Return the ciphertext and its tag."""
        return self._cipher.encrypt(nonce, plaintext, associated_data)

    def open(self, nonce: bytes, sealed: Buffer, associated_data: Buffer) -> bytes:
        """Return the plaintext; raise `NotAuthenticError` where the tag does not match."""
        return self._cipher.decrypt(nonce, sealed, associated_data)


def seal_once(key: bytes, plaintext: Buffer, associated_data: Buffer) -> bytes:
    """Seal with a key that is used for nothing else, so that the nonce can be zero."""
    return Aead(key).seal(_ZERO_NONCE, plaintext, associated_data)


def open_once(key: bytes, sealed: Buffer, associated_data: Buffer) -> bytes:
    """Open what `seal_once` sealed; raise `NotAuthenticError` on anything else."""
    return Aead(key).open(_ZERO_NONCE, sealed, associated_data)


# (counter) -> the nonce for it: four zero bytes and the counter, little-endian. A bound method, since a call
# of Python's own costs as much again.
counter_nonce: Callable[[int], bytes] = _NONCE.pack


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20 of a 32-byte key and a 16-byte nonce: a 32-byte key.

    An ordinary ChaCha20 block is the permuted state plus the input. HChaCha20 is the first and the
    last row of the permuted state, whose input words (constants and nonce) are known: subtract them.
    """
    keystream = Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64))
    block = _WORDS.unpack(keystream)
    known = _CHACHA_CONSTANTS + _FOUR_WORDS.unpack(nonce)
    rows = block[:4] + block[12:]
    return _EIGHT_WORDS.pack(*((word - value) & 0xFFFFFFFF for word, value in zip(rows, known, strict=True)))


def xseal(key: bytes, nonce: bytes, plaintext: Buffer, associated_data: Buffer) -> bytes:
    """XChaCha20-Poly1305 with a 24-byte nonce: the ciphertext and its tag."""
    return Aead(hchacha20(key, nonce[:16])).seal(bytes(4) + nonce[16:], plaintext, associated_data)


def xopen(key: bytes, nonce: bytes, sealed: Buffer, associated_data: Buffer) -> bytes:
    """Open XChaCha20-Poly1305; raise `NotAuthenticError` where the tag does not match."""
    return Aead(hchacha20(key, nonce[:16])).open(bytes(4) + nonce[16:], sealed, associated_data)
