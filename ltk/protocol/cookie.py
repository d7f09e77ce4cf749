"""What keeps a flood of handshakes cheap: mac1, mac2, cookie replies and rates.

WireGuard paper, sections 5.3 and 5.4.4 to 5.4.7. mac1 proves that the sender knows whom it talks to.
Under load a valid mac2 is demanded as well, which proves that the sender receives what is sent to
its address; then, and only then, an address is worth remembering, and its handshakes are counted.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from ltk.protocol.messages import (
    MAC_SIZE,
    MACS_SIZE,
    Buffer,
    CookieReply,
    Place,
    pack_cookie_reply,
    sender_of,
)
from ltk.protocol.primitives import NotAuthenticError, hash_of, keyed_mac, xopen, xseal

COOKIE_LIFETIME = 120.0  # seconds; WireGuard paper, section 5.4.7: both the secret's and the cookie's

# A handshake that is answered costs about 330 µs, one that is refused 76 µs, a cookie reply 22 µs. Above
# this rate a hundredth to a fifteenth of a core goes to handshakes, and cookies are demanded.
LOAD_RATE = 200.0  # handshake messages with a valid mac1 per second
LOAD_BURST = 200.0  # of them at once: a server's clients that all come back together
LOAD_LINGER = 1.0  # seconds for which the load outlasts the last message that was too many

SOURCE_RATE = 20.0  # handshakes per second and source address
SOURCE_BURST = 5.0
MAX_SOURCES = 8192  # addresses remembered; each has proven that it receives

_MAC1_LABEL = b"mac1----"
_COOKIE_LABEL = b"cookie--"
_NO_MAC = bytes(MAC_SIZE)


class TokenBucket:
    """A rate with a burst: full at first, refilled as time passes."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate` in tokens per second, `burst` in tokens."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled = now

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now

    def take(self, now: float) -> bool:
        """Take one token; return whether there was one."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def is_full(self, now: float) -> bool:
        """Return whether the bucket says no more than a new one would."""
        self._refill(now)
        return self._tokens >= self._burst


class LoadGauge:
    """Whether handshakes arrive faster than they should be answered."""

    __slots__ = ("_bucket", "_until")

    def __init__(self, now: float) -> None:
        self._bucket = TokenBucket(LOAD_RATE, LOAD_BURST, now)
        self._until = now

    def note(self, now: float) -> bool:
        """Count one message with a valid mac1; return whether the node is under load."""
        if not self._bucket.take(now):
            self._until = now + LOAD_LINGER
        return now < self._until


class SourceLimiter:
    """The rate of handshakes per source address: one IPv4 address, or one IPv6 /64."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[bytes, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, source: Place, now: float) -> bool:
        """Count one handshake from `source`, whose address has been proven; return whether it may pass."""
        address = source.packed()[:-2]
        prefix = address if len(address) == 4 else address[:8]
        bucket = self._buckets.get(prefix)
        if bucket is None:
            if len(self._buckets) >= MAX_SOURCES and not self._forget_idle(now):
                return False
            bucket = self._buckets[prefix] = TokenBucket(SOURCE_RATE, SOURCE_BURST, now)
        return bucket.take(now)

    def _forget_idle(self, now: float) -> bool:
        self._buckets = {
            prefix: bucket for prefix, bucket in self._buckets.items() if not bucket.is_full(now)
        }
        return len(self._buckets) < MAX_SOURCES


class MacChecker:
    """The receiving side: checks the macs of messages 1 and 2, and answers with cookies."""

    __slots__ = ("_cookie_key", "_mac1_key", "_random", "_secret", "_secret_from")

    def __init__(self, public_key: bytes, random: Callable[[int], bytes], now: float) -> None:
        """Take the own public key, to which every mac is bound."""
        self._mac1_key = hash_of(_MAC1_LABEL, public_key)
        self._cookie_key = hash_of(_COOKIE_LABEL, public_key)
        self._random = random
        self._secret = random(32)
        self._secret_from = now

    def mac1_is_valid(self, message: memoryview) -> bool:
        """Return whether the sender knew this node's public key. Costs about a microsecond."""
        expected = keyed_mac(self._mac1_key, message[:-MACS_SIZE])
        return hmac.compare_digest(expected, message[-MACS_SIZE:-MAC_SIZE])

    def mac2_is_valid(self, message: memoryview, source: Place, now: float) -> bool:
        """Return whether the sender holds the cookie that was sent to `source`."""
        expected = keyed_mac(self._cookie_for(source, now), message[:-MAC_SIZE])
        return hmac.compare_digest(expected, message[-MAC_SIZE:])

    def cookie_reply(self, message: memoryview, source: Place, now: float) -> bytes:
        """Make the cookie reply to a handshake message: 64 bytes, fewer than either message has."""
        nonce = self._random(24)
        mac1 = message[-MACS_SIZE:-MAC_SIZE]
        sealed = xseal(self._cookie_key, nonce, self._cookie_for(source, now), mac1)
        return pack_cookie_reply(CookieReply(sender_of(message), nonce, sealed))

    def _cookie_for(self, source: Place, now: float) -> bytes:
        if now - self._secret_from >= COOKIE_LIFETIME:
            self._secret = self._random(32)
            self._secret_from = now
        return keyed_mac(self._secret, source.packed())


class MacWriter:
    """The sending side: puts the macs on messages to one peer, and keeps its cookie."""

    __slots__ = ("_cookie", "_cookie_from", "_cookie_key", "_last_mac1", "_mac1_key")

    def __init__(self, peer_public_key: bytes) -> None:
        self._mac1_key = hash_of(_MAC1_LABEL, peer_public_key)
        self._cookie_key = hash_of(_COOKIE_LABEL, peer_public_key)
        self._cookie: bytes | None = None
        self._cookie_from = 0.0
        self._last_mac1: bytes | None = None

    def write(self, message: Buffer, now: float) -> bytes:
        """Return the message with both macs; mac2 is zero without a cookie that is still fresh."""
        mac1 = keyed_mac(self._mac1_key, message)
        self._last_mac1 = mac1
        stamped = bytes(message) + mac1
        if self._cookie is None or now - self._cookie_from >= COOKIE_LIFETIME:
            return stamped + _NO_MAC
        return stamped + keyed_mac(self._cookie, stamped)

    def read_reply(self, reply: CookieReply, now: float) -> bool:
        """Keep the cookie of a reply; return whether it answers the last message that was written."""
        if self._last_mac1 is None:
            return False
        try:
            self._cookie = xopen(self._cookie_key, reply.nonce, reply.cookie, self._last_mac1)
        except NotAuthenticError:
            return False
        self._cookie_from = now
        self._last_mac1 = None  # one message, one answer
        return True
