"""The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s.

    <- s
    ...
    -> e, es, s, ss, payload      message 1; WireGuard's payload is a TAI64N timestamp
    <- e, ee, se, psk, payload    message 2; WireGuard's payload is empty

Noise, revision 34, sections 5, 7 and 9; WireGuard paper, section 5.4. As in every psk handshake,
an ephemeral key is mixed into the chaining key as well as into the hash. Every key seals exactly
one message here, so that every nonce is zero.

Reading raises `NotAuthenticError` or `LowOrderKeyError` (see primitives) and then leaves the state as
it was: a forged answer does not spoil the handshake for the true one.
"""

from __future__ import annotations

from typing import NamedTuple

from ltk.protocol.primitives import PrivateKey, hash_of, hkdf, open_once, seal_once

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
WIREGUARD_PROLOGUE = b"WireGuard v1 zx2c4 Jason@zx2c4.com"

_START = hash_of(CONSTRUCTION)  # longer than a hash, so hashed (Noise, section 5.2)


class TransportKeys:
    """The two keys that a finished handshake leaves."""

    __slots__ = ("receive", "send")

    def __init__(self, send: bytes, receive: bytes) -> None:
        self.send = send
        self.receive = receive

    def __repr__(self) -> str:
        return "TransportKeys(secret)"


class InitiationParts(NamedTuple):
    """What message 1 is made of: 32, 48 and 16 + payload bytes."""

    ephemeral: bytes
    static: bytes
    payload: bytes


class ResponseParts(NamedTuple):
    """What message 2 is made of: 32 and 16 + payload bytes."""

    ephemeral: bytes
    payload: bytes


class _Transcript:
    """Noise's symmetric state: all that both sides have said and agreed so far."""

    __slots__ = ("chaining_key", "digest")

    def __init__(self, chaining_key: bytes, digest: bytes) -> None:
        self.chaining_key = chaining_key
        self.digest = digest

    @classmethod
    def start(cls, prologue: bytes, responder_static: bytes) -> _Transcript:
        return cls(_START, hash_of(hash_of(_START, prologue), responder_static))

    def copy(self) -> _Transcript:
        return _Transcript(self.chaining_key, self.digest)

    def mix_hash(self, data: bytes) -> None:
        self.digest = hash_of(self.digest, data)

    def mix_key(self, material: bytes) -> bytes:
        self.chaining_key, key = hkdf(self.chaining_key, material, 2)
        return key

    def mix_ephemeral(self, public: bytes) -> None:
        self.mix_hash(public)
        self.mix_key(public)

    def mix_preshared_key(self, preshared_key: bytes) -> bytes:
        self.chaining_key, digest, key = hkdf(self.chaining_key, preshared_key, 3)
        self.mix_hash(digest)
        return key

    def seal(self, key: bytes, plaintext: bytes) -> bytes:
        sealed = seal_once(key, plaintext, self.digest)
        self.mix_hash(sealed)
        return sealed

    def open(self, key: bytes, sealed: bytes) -> bytes:
        plaintext = open_once(key, sealed, self.digest)
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        first, second = hkdf(self.chaining_key, b"", 2)
        return first, second


class Initiator:
    """The side that sends message 1."""

    __slots__ = ("_ephemeral", "_identity", "_peer", "_transcript")

    def __init__(
        self, identity: PrivateKey, peer: bytes, ephemeral: PrivateKey, prologue: bytes = WIREGUARD_PROLOGUE
    ) -> None:
        """Take the own static key, the peer's static public key and a fresh ephemeral key."""
        self._identity = identity
        self._peer = peer
        self._ephemeral = ephemeral
        self._transcript = _Transcript.start(prologue, peer)

    @property
    def handshake_hash(self) -> bytes:
        """The hash over all that was said; equal on both sides once the handshake is finished."""
        return self._transcript.digest

    def write_initiation(self, static_shared: bytes, payload: bytes) -> InitiationParts:
        """Make message 1. `static_shared` is the secret shared by both static keys."""
        transcript = self._transcript
        transcript.mix_ephemeral(self._ephemeral.public)
        key = transcript.mix_key(self._ephemeral.shared_with(self._peer))
        static = transcript.seal(key, self._identity.public)
        key = transcript.mix_key(static_shared)
        return InitiationParts(self._ephemeral.public, static, transcript.seal(key, payload))

    def read_response(self, parts: ResponseParts, preshared_key: bytes) -> tuple[bytes, TransportKeys]:
        """Read message 2: its payload, and the keys of the session."""
        transcript = self._transcript.copy()
        transcript.mix_ephemeral(parts.ephemeral)
        transcript.mix_key(self._ephemeral.shared_with(parts.ephemeral))
        transcript.mix_key(self._identity.shared_with(parts.ephemeral))
        payload = transcript.open(transcript.mix_preshared_key(preshared_key), parts.payload)
        self._transcript = transcript
        first, second = transcript.split()
        return payload, TransportKeys(send=first, receive=second)


class Responder:
    """The side that answers. It learns who asks before it decides whether to answer."""

    __slots__ = ("_identity", "_peer", "_peer_ephemeral", "_transcript")

    def __init__(self, identity: PrivateKey, prologue: bytes = WIREGUARD_PROLOGUE) -> None:
        self._identity = identity
        self._transcript = _Transcript.start(prologue, identity.public)
        self._peer = b""
        self._peer_ephemeral = b""

    @property
    def handshake_hash(self) -> bytes:
        """The hash over all that was said; equal on both sides once the handshake is finished."""
        return self._transcript.digest

    def read_static(self, ephemeral: bytes, sealed_static: bytes) -> bytes:
        """Read the first half of message 1: the static public key of whoever sent it."""
        transcript = self._transcript.copy()
        transcript.mix_ephemeral(ephemeral)
        key = transcript.mix_key(self._identity.shared_with(ephemeral))
        self._peer = transcript.open(key, sealed_static)
        self._peer_ephemeral = ephemeral
        self._transcript = transcript
        return self._peer

    def read_payload(self, static_shared: bytes, sealed_payload: bytes) -> bytes:
        """Read the second half of message 1, which proves that the sender holds its static key."""
        transcript = self._transcript.copy()
        payload = transcript.open(transcript.mix_key(static_shared), sealed_payload)
        self._transcript = transcript
        return payload

    def write_response(
        self, ephemeral: PrivateKey, preshared_key: bytes, payload: bytes = b""
    ) -> tuple[ResponseParts, TransportKeys]:
        """Make message 2 with a fresh ephemeral key: the message, and the keys of the session."""
        transcript = self._transcript
        transcript.mix_ephemeral(ephemeral.public)
        transcript.mix_key(ephemeral.shared_with(self._peer_ephemeral))
        transcript.mix_key(ephemeral.shared_with(self._peer))
        sealed = transcript.seal(transcript.mix_preshared_key(preshared_key), payload)
        first, second = transcript.split()
        return ResponseParts(ephemeral.public, sealed), TransportKeys(send=second, receive=first)
