"""Whether one peer is there: what it is owed and owes, by when, and what is done about silence.

WireGuard paper, sections 6.2 and 6.5: a keepalive is owed for data, and silence means a new handshake. A peer
that answers probes is known to be gone long before that.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ltk.protocol.config import PeerKind
from ltk.protocol.frames import CHALLENGE_SIZE, Probe
from ltk.protocol.handshake import REKEY_TIMEOUT
from ltk.protocol.local import Local
from ltk.protocol.messages import Relay
from ltk.protocol.timers import Timer, Timers

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

KEEPALIVE_TIMEOUT = 10.0  # seconds; as the next from the WireGuard paper, section 6
SUSPECT_AFTER = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT  # seconds; section 6.5
DOUBT_PEER_AFTER = 1.0  # seconds of silence until it is probed, and again until it is asked for a session

# As plain numbers: with each packet four of them are looked up, and in an enumeration that takes 0.2 us each.
_OWE_KEEPALIVE = int(Timer.OWE_KEEPALIVE)
_SUSPECT_PEER = int(Timer.SUSPECT_PEER)
_DOUBT_PEER = int(Timer.DOUBT_PEER)


class Liveness:
    """What is expected of one peer, and of this node towards it."""

    __slots__ = ("_doubts", "_local", "_peer", "_timers")

    def __init__(self, peer: Peer, local: Local, timers: Timers) -> None:
        """Expect nothing yet; `timers` are the peer's."""
        self._peer = peer
        self._local = local
        self._timers = timers
        self._doubts = 0

    def start_over(self) -> None:
        """Have no reason for doubts."""
        self._doubts = 0

    def sent(self, now: float) -> None:
        """Note that something was said, which is as good as a keepalive."""
        self._timers.deadlines[_OWE_KEEPALIVE] = inf
        self._traffic(now)

    def packet_sent(self, now: float) -> None:
        """Note that a packet was sent: all that `sent`, `expect_anything` and `expect_answer` are told."""
        timers, peer, earliest = self._timers, self._peer, inf
        deadlines = timers.deadlines
        deadlines[_OWE_KEEPALIVE] = inf
        if deadlines[_SUSPECT_PEER] == inf:
            deadlines[_SUSPECT_PEER] = earliest = now + SUSPECT_AFTER
        if deadlines[_DOUBT_PEER] == inf and peer.speaks_ltk:
            deadlines[_DOUBT_PEER] = earliest = now + DOUBT_PEER_AFTER
        if earliest < timers.wake:
            timers.wake_at(earliest)
        if peer.config.keepalive > 0:
            self._traffic(now)

    def heard(self, now: float) -> None:
        """Note something authentic."""
        self._doubts = 0
        deadlines = self._timers.deadlines
        deadlines[_DOUBT_PEER] = deadlines[_SUSPECT_PEER] = inf
        if self._peer.config.keepalive > 0:
            self._traffic(now)

    def heard_packet(self, now: float) -> None:
        """Note that data was heard, for which at least a keepalive is owed."""
        timers = self._timers
        if timers.deadlines[_OWE_KEEPALIVE] == inf:
            timers.deadlines[_OWE_KEEPALIVE] = owed = now + KEEPALIVE_TIMEOUT
            if owed < timers.wake:
                timers.wake_at(owed)

    def expect_anything(self, now: float) -> None:
        """Note that something was said to which something comes back, unless the session is lost there."""
        if not self._timers.is_armed(Timer.SUSPECT_PEER):
            self._timers.arm(Timer.SUSPECT_PEER, now + SUSPECT_AFTER)

    def expect_answer(self, now: float) -> None:
        """Note that something was said that an ltk peer does not leave unanswered for long."""
        if self._peer.speaks_ltk and not self._timers.is_armed(Timer.DOUBT_PEER):
            self._timers.arm(Timer.DOUBT_PEER, now + DOUBT_PEER_AFTER)

    def doubt(self, now: float) -> None:
        """Nothing was heard for too long: probe the peer, and then ask for a session."""
        peer = self._peer
        self._doubts += 1
        if self._doubts == 1 and peer.has_session(now):
            self._probe(now)
            server = self._local.server
            if server is not None and any(isinstance(place, Relay) for place in peer.frame_places):
                server.liveness.ask(now)  # it may be the relay that does not answer
        elif peer.handshake.is_wanted:
            peer.handshake.repeat(now)
        else:
            peer.want_handshake(now)

    def ask(self, now: float) -> None:
        """Ask a peer for a sign of life of which none is expected, though there is reason for doubts."""
        is_asked = self._timers.is_armed(Timer.DOUBT_PEER) or self._peer.handshake.is_wanted
        if not is_asked and self._peer.speaks_ltk and self._peer.has_session(now):
            self._doubts = 1
            self._probe(now)

    def keep_alive(self, now: float) -> None:
        """Say the persistent keepalive, to a server as a question."""
        peer = self._peer
        self._traffic(now)  # due again, whether or not there is a session to send on
        if peer.speaks_ltk and peer.config.kind is PeerKind.SERVER and peer.has_session(now):
            self._probe(now)  # the server may have restarted, or see this node elsewhere
        else:
            self.send_keepalive(now)

    def send_keepalive(self, now: float) -> None:
        """Say that this node is there, in a session or by asking for one."""
        if not self._peer.say_packed(b"", now):
            self._peer.want_handshake(now)

    def _probe(self, now: float) -> None:
        """Ask for a sign of life, by whichever way data takes."""
        if self._peer.say(Probe(self._local.random(CHALLENGE_SIZE)), now):
            self.expect_answer(now)

    def _traffic(self, now: float) -> None:
        if self._peer.config.keepalive > 0:
            self._timers.arm(Timer.PERSISTENT_KEEPALIVE, now + self._peer.config.keepalive)
