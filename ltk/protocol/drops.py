"""Why something was refused: one name for each reason, the same in counters, logs and tests."""

from __future__ import annotations

from enum import StrEnum


class Drop(StrEnum):
    """The reason why a datagram or a packet went no further.

    The groups follow the order of the checks, cheapest first. Whatever is refused before its
    cryptography has succeeded has changed nothing but the counter of its reason.
    """

    # The shape of a datagram.
    UNKNOWN_TYPE = "unknown-type"
    WRONG_LENGTH = "wrong-length"
    CLOSED_SOCKET = "closed-socket"  # late for an attempt that is over
    UNKNOWN_RECEIVER = "unknown-receiver"

    # Handshake messages, before the expensive part.
    BAD_MAC1 = "bad-mac1"
    COOKIE_DEMANDED = "cookie-demanded"  # under load, without a valid mac2: a cookie reply was sent
    RATE_LIMITED = "rate-limited"

    # Relayed datagrams, before any cryptography.
    UNKNOWN_CHANNEL = "unknown-channel"  # or not the sender's: the refusal that was sent says no more
    NOT_FROM_SERVER = "not-from-server"
    CHANNEL_REFUSED = "channel-refused"  # the server's notice

    # STUN.
    STUN_REFUSED = "stun-refused"  # no binding request, or smaller than its answer, or too many
    UNASKED_STUN = "unasked-stun"

    # Cryptography.
    NOT_AUTHENTIC = "not-authentic"
    LOW_ORDER_KEY = "low-order-key"
    UNKNOWN_PEER = "unknown-peer"
    STALE_TIMESTAMP = "stale-timestamp"  # an initiation that is a replay, or older than the last one
    HANDSHAKE_FLOOD = "handshake-flood"  # initiations of one peer less than 20 ms apart
    UNASKED_COOKIE = "unasked-cookie"
    SESSION_EXPIRED = "session-expired"
    REPLAYED = "replayed"

    # What an authentic datagram carried.
    MALFORMED_PACKET = "malformed-packet"
    MALFORMED_FRAME = "malformed-frame"
    UNKNOWN_FRAME = "unknown-frame"
    UNEXPECTED_FRAME = "unexpected-frame"  # one that this peer has no business to send
    UNASKED_REPLY = "unasked-reply"  # to no probe of ours, or not from where the probe went
    STALE_ATTEMPT = "stale-attempt"  # an introduction to an attempt that is over, or an EXPECT in none
    SOURCE_NOT_ALLOWED = "source-not-allowed"
    ISOLATED = "isolated"  # between two peers of a server that keeps them apart
    HAIRPIN = "hairpin"  # the destination lies behind the peer that sent the packet

    # Packets on their way out.
    NO_ROUTE = "no-route"
    NO_ENDPOINT = "no-endpoint"
    NO_DIRECT_PATH = "no-direct-path"  # the oldest packet staged for a peer that may not be relayed
    STAGED_OVERFLOW = "staged-overflow"  # the oldest staged packet made room for a newer one
    GAVE_UP = "gave-up"  # staged packets of a peer that did not answer for 90 s
    PEER_REMOVED = "peer-removed"  # staged packets of a peer that the configuration no longer names
