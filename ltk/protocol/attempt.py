"""One attempt at a direct path.

Both sides probe all that they know of each other at the same moments, so that each opens its own NAT
for the other. The first probes come close together: whichever side's NAT opens first, the other's next
probe passes.

What reaches a router before the host behind it has sent anything may do harm: some routers take it for
themselves, and give what the host then sends another port (RFC 4787 does not forbid it). So the very first
probes get no further than the own network: they have a small hop limit, open the own NAT and die on the way.
"""

from __future__ import annotations

from ltk.protocol.frames import CandidateKind, Nat
from ltk.protocol.path import Path

PROBE_OFFSETS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds
PROBES_AFTER_PROOF = 5  # a better path than the first may need as many to answer
# Of the first rounds of probes through the internet: past the own router, and not as far as the other's. Two,
# so that a side that starts a tenth of a second later has opened its NAT before anything arrives there.
FIRST_HOPS = (2, 2)
CONNECT_OFFSETS = (0.0, 0.5, 1.5, 3.0)  # seconds; either introduction may be lost, or the other side be late
ATTEMPT_TIME = 4.5  # seconds of plain probing, and
LONGEST_ATTEMPT = 12.0  # seconds with a search that is still under way

BETTER_BY = 5e-3  # seconds by which, and
BETTER_SHARE = 0.8  # share of its round trip at which, a path replaces one that works


def is_better(path: Path, active: Path) -> bool:
    """Return whether a proven path is worth leaving another for: the same network, or clearly faster."""
    near, active_near = (each.kind is CandidateKind.HOST for each in (path, active))
    if near is not active_near:
        return near
    return path.srtt < active.srtt * BETTER_SHARE and path.srtt < active.srtt - BETTER_BY


def nat_hint(own: Nat, theirs: Nat) -> str:
    """Return what makes an answer unlikely, as far as it is known, to be added to a sentence."""
    sides = {"this side's": own, "the other side's": theirs}
    hard = [side for side, nat in sides.items() if nat.is_hard]
    return f": {' and '.join(hard)} NAT chooses a port for each destination" if hard else ""


class Attempt:
    """The course of one attempt. `asks`: this node numbered it, and asks the server for introductions."""

    __slots__ = (
        "_asks",
        "_base",
        "_connects",
        "_rounds",
        "introduced",
        "number",
        "probed",
        "proven",
        "started",
    )

    def __init__(self, number: int, now: float, *, asks: bool) -> None:
        """Start now; who asks has just asked once."""
        self.number = number
        self.started = now
        self.introduced = False  # the other side's candidates are known, and it knows that it is meant
        self.probed = False  # anything was sent at all
        self.proven = False
        self._asks = asks
        self._connects = 1
        self._base = now
        self._rounds = 0

    def restart(self, now: float) -> None:
        """Probe from the start, since only now there is whom or how."""
        self._base = now
        self._rounds = 0

    def probes_are_due(self, now: float) -> bool:
        """Return whether it is time to probe, and count that as done."""
        if now < self._next_round():
            return False
        while self._next_round() <= now:
            self._rounds += 1
        return True

    @property
    def hops(self) -> int:
        """The hop limit of the round that is due or was last; 0 for the system's own."""
        number = max(self._rounds - 1, 0)
        return FIRST_HOPS[number] if number < len(FIRST_HOPS) else 0

    def connect_is_due(self, now: float) -> bool:
        """Return whether it is time to ask the server once more, and count that as done."""
        if now < self._next_connect():
            return False
        while self._next_connect() <= now:
            self._connects += 1
        return True

    def is_over(self, now: float, busy_until: float) -> bool:
        """Return whether there is nothing left to do or to wait for; a search has, until `busy_until`."""
        if self.proven:
            return self._rounds >= PROBES_AFTER_PROOF
        return now >= self._end(busy_until)

    def why_in_vain(self, candidates: int, tried: str, hint: str) -> str:
        """Return why no probe was answered, of so many candidates.

        `tried` says what else was done, and `hint` what makes an answer unlikely.
        """
        if self.probed:
            beside = f" ({tried})" if tried else ""
            return f"none of {candidates} candidates answered a probe{beside}{hint}"
        return "there was no session to send probes in" if candidates else "no candidate is known"

    def next_moment(self, busy_until: float) -> float:
        """Return when something is to be done next, beside a search that goes on until `busy_until`."""
        return min(self._next_round(), self._next_connect(), self._end(busy_until))

    def _end(self, busy_until: float) -> float:
        return self._base + max(ATTEMPT_TIME, min(busy_until - self._base, LONGEST_ATTEMPT))

    def _next_round(self) -> float:
        if self._rounds >= len(PROBE_OFFSETS):
            return float("inf")
        return self._base + PROBE_OFFSETS[self._rounds]

    def _next_connect(self) -> float:
        if not self._asks or self.proven or self._connects >= len(CONNECT_OFFSETS):
            return float("inf")
        return self.started + CONNECT_OFFSETS[self._connects]
