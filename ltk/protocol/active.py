"""The direct path in use: when to probe it, when to doubt it, when it is lost."""

from __future__ import annotations

from math import inf

from ltk.protocol.path import Path

PROBE_WHILE_SENDING = 0.5  # seconds since the last probe or proof, as the next two
PROBE_WHILE_WARM = 2.0
# Keeps the mapping of a NAT: RFC 4787, REQ-5, has two minutes, many routers 30 s, and some no more than 20 s.
PROBE_WHILE_IDLE = 18.0

DOUBT_AFTER = 0.5  # seconds without an answer, at the least; more where round trips are long
AVOIDED_AFTER = 0.4  # seconds of silence here while the other side is heard by the relay
LOST_AFTER = 0.5  # seconds of doubt
# Several probes must fail before a path is lost: at 20 % loss each way one in three fails by itself.
PROBE_IN_DOUBT = 0.1  # seconds
IDLE_RETRY = 1.0  # seconds
IDLE_TRIES = 3

MIRROR_TIME = 0.3  # seconds for which, or until as many datagrams, data on a new path is relayed as well
MIRROR_DATAGRAMS = 32


class Active:
    """A path that carries data. `warm`, wherever it is asked for: the pair has exchanged data lately."""

    __slots__ = ("doubted", "last_heard", "mirror_until", "mirrored", "path", "probe_due")

    def __init__(self, path: Path, now: float) -> None:
        """Use a path that has just been proven."""
        self.path = path
        self.doubted = False
        self.last_heard = now
        self.mirrored = MIRROR_DATAGRAMS  # datagrams that are still to be relayed as well
        self.mirror_until = now + MIRROR_TIME
        self.probe_due = now + PROBE_WHILE_SENDING  # if data is sent then

    def mirrors_last(self) -> bool:
        """Count a datagram that was relayed as well; return whether it was the last."""
        self.mirrored -= 1
        return not self.mirrored

    def was_probed(self, now: float) -> None:
        """Note a probe: while data is sent, the next is due a little later."""
        self.probe_due = now + PROBE_WHILE_SENDING

    def was_proven(self, now: float) -> bool:
        """Note a proof; return whether that ends a doubt."""
        self.probe_due = now + PROBE_WHILE_SENDING
        ends = self.doubted and not self.is_silent(now)
        self.doubted = self.doubted and not ends
        return ends

    def is_silent(self, now: float) -> bool:
        """Return whether an answer is overdue."""
        return self.doubted_at() <= now

    def is_avoided(self, now: float) -> bool:
        """Return whether the other side, which was heard elsewhere just now, seems to trust this no more."""
        return not self.doubted and now - self.last_heard > AVOIDED_AFTER

    def doubted_at(self) -> float:
        """Return when the path is to be doubted if nothing comes back."""
        since = self.path.waits_since
        return inf if since is None else since + max(DOUBT_AFTER, 1.5 * self.path.srtt + 0.1)

    def lost_at(self, *, warm: bool) -> float:
        """Return when the path is lost if nothing comes back."""
        if warm or self.path.waits_since is None:
            return self.doubted_at() + LOST_AFTER
        return self.path.waits_since + IDLE_TRIES * IDLE_RETRY

    def next_probe(self, *, warm: bool) -> float:
        """Return when the path is to be probed if nothing is sent."""
        path = self.path
        if path.waits_since is None:
            return path.last_sign + (PROBE_WHILE_WARM if warm else PROBE_WHILE_IDLE)
        if not warm:
            return path.last_probe + IDLE_RETRY
        return max(self.doubted_at(), path.last_probe + PROBE_IN_DOUBT)
