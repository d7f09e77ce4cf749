"""Relaying between clients: the server's table of channels, and a client's requests for them.

A channel is a random number by which one client, its owner, names another towards the server. Both
directions of a pair are opened at once, each with its own number. The server looks at nothing but the
number and the source: it has no key for what it relays.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from ltk.protocol.cookie import TokenBucket
from ltk.protocol.drops import Drop
from ltk.protocol.frames import OpenChannel
from ltk.protocol.local import Local
from ltk.protocol.messages import (
    RELAY_HEADER_SIZE,
    Endpoint,
    Kind,
    Relay,
    channel_of,
    pack_relay_header_into,
    relayed,
)
from ltk.protocol.peer import Peer
from ltk.protocol.timers import Timer, Timers

MAX_CHANNELS = 1024  # per owner

NOTICE_RATE = 200.0  # refusals per second in all
NOTICE_BURST = 200.0  # of them at once: what a server's clients send in the moment after its restart
NOTICE_SPACING = 0.1  # seconds between two to the same source
MAX_NOTICED = 4096  # sources remembered; forgotten together

REOPEN_SPACING = 1.0  # seconds between two times that notices are acted upon
REQUEST_FIRST_RETRY = 1.0  # seconds, doubled each time
REQUEST_LAST_RETRY = 32.0
REQUEST_JITTER = 0.1  # of the wait, more


class Channel:
    """One direction of a pair: from `owner`, who names it by `number`, to `other`."""

    __slots__ = ("bytes", "number", "other", "owner", "packets", "reverse")

    def __init__(self, number: int, owner: Peer, other: Peer) -> None:
        self.number = number
        self.owner = owner
        self.other = other
        self.reverse = number  # the other's number for the same pair
        self.packets = self.bytes = 0  # relayed


class RelayTable:
    """The server's channels."""

    __slots__ = ("_by_number", "_by_pair", "_local", "_noticed", "_notices", "_owned")

    def __init__(self, local: Local, now: float) -> None:
        self._local = local
        self._by_number: dict[int, Channel] = {}
        self._by_pair: dict[tuple[bytes, bytes], Channel] = {}
        self._owned: dict[bytes, int] = {}
        self._notices = TokenBucket(NOTICE_RATE, NOTICE_BURST, now)
        self._noticed: dict[Endpoint, float] = {}

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, each with what it has carried."""
        return tuple(self._by_number.values())

    def open(self, owner: Peer, other: Peer) -> int:
        """Return the owner's number for the pair, which is opened if need be; 0 where it has too many."""
        known = self._by_pair.get((owner.config.public_key, other.config.public_key))
        if known is not None:
            return known.number
        keys = (owner.config.public_key, other.config.public_key)
        if any(self._owned.get(key, 0) >= MAX_CHANNELS for key in keys):
            return 0
        there, back = self._add(owner, other), self._add(other, owner)
        there.reverse, back.reverse = back.number, there.number
        return there.number

    def _add(self, owner: Peer, other: Peer) -> Channel:
        number = 0
        while not number or number in self._by_number:
            number = int.from_bytes(self._local.random(4), "little")
        key = owner.config.public_key
        channel = Channel(number, owner, other)
        self._by_number[number] = self._by_pair[key, other.config.public_key] = channel
        self._owned[key] = self._owned.get(key, 0) + 1
        return channel

    def keep_only(self, allowed: Callable[[Peer], bool]) -> None:
        """Close the channels of all pairs of which one side is not `allowed` any more."""
        for channel in list(self._by_number.values()):
            if not (allowed(channel.owner) and allowed(channel.other)):
                key = channel.owner.config.public_key
                del self._by_number[channel.number]
                del self._by_pair[key, channel.other.config.public_key]
                self._owned[key] -= 1

    def forward(self, datagram: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Send a datagram of a channel's owner on to the other, or refuse it."""
        size = len(datagram)
        if size <= RELAY_HEADER_SIZE:
            return Drop.WRONG_LENGTH  # a notice is never answered
        channel = self._by_number.get(channel_of(datagram))
        if channel is None or not _is_from(channel.owner, source):
            return self._refuse(channel_of(datagram), source, now)
        target = channel.other.endpoint
        if target is None:
            return Drop.NO_ENDPOINT
        room = self._local.outbox.room(size)
        room[:] = datagram
        pack_relay_header_into(room, 0, Kind.RELAYED, channel.reverse)
        self._local.outbox.send_room(room, target)
        channel.packets += 1
        channel.bytes += size - RELAY_HEADER_SIZE
        return None

    def forward_burst(self, datagrams: memoryview, size: int, number: int, source: Endpoint) -> bool:
        """Send a burst of one channel's owner on to the other, as `forward` does with each; False if not.

        Each datagram has `size` bytes, but the last, which may have fewer.
        """
        channel = self._by_number.get(number)
        if channel is None or not _is_from(channel.owner, source) or channel.other.endpoint is None:
            return False
        room = self._local.outbox.burst_room(len(datagrams))[: len(datagrams)]
        room[:] = datagrams
        for begin in range(0, len(datagrams), size):
            pack_relay_header_into(room, begin, Kind.RELAYED, channel.reverse)
        self._local.outbox.send(room, channel.other.endpoint, size)
        count = -(-len(datagrams) // size)
        channel.packets += count
        channel.bytes += len(datagrams) - count * RELAY_HEADER_SIZE
        return True

    def _refuse(self, number: int, source: Endpoint, now: float) -> Drop:
        """Answer eight bytes to more than eight, so that an honest owner opens its channels again."""
        if now - self._noticed.get(source, -inf) >= NOTICE_SPACING and self._notices.take(now):
            if len(self._noticed) >= MAX_NOTICED:
                self._noticed.clear()
            self._noticed[source] = now
            self._local.outbox.send(relayed(number), source)
        return Drop.UNKNOWN_CHANNEL


def _is_from(owner: Peer, source: Endpoint) -> bool:
    """Whether a channel's owner is there, or was until now and is on its way from UDP to TCP or back."""
    return source in (owner.endpoint, owner.former)


class _Request:
    """A channel that is wanted and not open yet."""

    __slots__ = ("due", "number", "tries")

    def __init__(self, number: int) -> None:
        self.number = number
        self.tries = 0
        self.due = -inf


class ChannelRequests:
    """A client's requests: repeated until they are answered, or the channel is not wanted any more."""

    __slots__ = ("_last_reopened", "_local", "_number", "_requests", "_timers")

    def __init__(self, local: Local) -> None:
        self._local = local
        self._timers = Timers(local.queue, self._on_timer)
        self._requests: dict[Peer, _Request] = {}
        self._number = 0
        self._last_reopened = -inf

    def want(self, peer: Peer, now: float) -> None:
        """Ask for a channel to `peer`, unless that is being done."""
        if peer not in self._requests:
            self._number += 1
            self._requests[peer] = _Request(self._number)
            self._ask(now)

    def unwant(self, peer: Peer) -> None:
        """Ask no more."""
        self._requests.pop(peer, None)

    def ask_again(self, now: float) -> None:
        """Ask for all that is wanted at once: there is a new session with the server."""
        for request in self._requests.values():
            request.due = -inf
            request.tries = 0
        self._ask(now)

    def ask_early(self, now: float) -> None:
        """Ask a server that has not said yet what it speaks, which saves the first packets a round trip.

        It is asked once more when it has. Stock WireGuard ignores the few frames.
        """
        for peer, request in self._requests.items():
            if self._local.server is not None:
                self._local.server.say(OpenChannel(request.number, peer.config.public_key), now)

    def may_reopen(self, now: float) -> bool:
        """Return whether a notice is to be acted upon; anybody can forge one, so not more than this."""
        if now - self._last_reopened < REOPEN_SPACING:
            return False
        self._last_reopened = now
        return True

    def answered(self, peer: Peer, number: int, channel: int, now: float) -> Drop | None:
        """Take the server's answer: the peer is reached by `channel` from now on, if that is not 0."""
        request = self._requests.get(peer)
        if request is None or request.number != number or peer.paths is None:
            return Drop.UNASKED_REPLY
        if channel:
            del self._requests[peer]
            peer.paths.use_relay(Relay(channel), now)
        else:
            request.due = now + REQUEST_LAST_RETRY
        return None

    def _on_timer(self, _timer: Timer, now: float) -> None:
        self._ask(now)

    def _ask(self, now: float) -> None:
        server = self._local.server
        for peer, request in self._requests.items():
            if request.due > now:
                continue
            frame = OpenChannel(request.number, peer.config.public_key)
            if server is None or not server.speaks_ltk or not server.say(frame, now):
                continue  # asked again when there is a session
            server.expect_answer(now)
            wait = min(REQUEST_FIRST_RETRY * 2**request.tries, REQUEST_LAST_RETRY)
            request.tries += 1
            request.due = now + wait + self._local.jitter(REQUEST_JITTER * wait)
        self._timers.arm(
            Timer.OPEN_CHANNELS, min((r.due for r in self._requests.values() if r.due > now), default=inf)
        )
