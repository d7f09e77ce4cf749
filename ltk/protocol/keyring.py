"""The three sessions of a peer: previous, current and next (WireGuard paper, section 6.3 and 6.4).

Packets leave on the current session and may arrive on all three. The initiator of a handshake
uses the new session at once. The responder keeps it as the next one until the initiator has
used it, since only then it is certain that the initiator has it.

When both sides initiate at once, both handshakes succeed, and each side holds the one it initiated as
current and the other as next. Nothing may be forgotten then, since packets can be under way on
all three. Both sides settle on the session that the side with the smaller public key initiated;
the other stays where it is until a new one takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator

from ltk.protocol.session import Session

_CROSSING_TIME = 5.0  # seconds; handshakes that cross are made closer together than one is retried


class Keyring:
    """At most three sessions with one peer. Methods return the sessions that fell out."""

    __slots__ = ("_own_wins", "current", "next", "previous")

    def __init__(self, *, own_wins: bool) -> None:
        """`own_wins`: of two sessions made at once, the one that this node initiated is used."""
        self._own_wins = own_wins
        self.previous: Session | None = None
        self.current: Session | None = None
        self.next: Session | None = None

    def __iter__(self) -> Iterator[Session]:
        return (session for session in (self.previous, self.current, self.next) if session is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def install_initiated(self, session: Session) -> list[Session]:
        """Use a session that this node initiated from now on."""
        fallen = self.previous
        self.previous, self.current = self.current, session
        return [fallen] if fallen is not None else []

    def install_responded(self, session: Session) -> list[Session]:
        """Keep a session that the peer initiated until the peer uses it."""
        fallen, self.next = self.next, session
        return [fallen] if fallen is not None else []

    def confirm_next(self) -> list[Session]:
        """The peer has used the next session for the first time: use it too, unless it lost a crossing."""
        if self.current is not None and self.next is not None and _crossed(self.current, self.next):
            if not self._own_wins:
                self.current, self.next = self.next, self.current
            return []
        fallen = self.previous
        self.previous, self.current, self.next = self.current, self.next, None
        return [fallen] if fallen is not None else []

    def clear(self) -> list[Session]:
        """Forget all."""
        fallen = list(self)
        self.previous = self.current = self.next = None
        return fallen


def _crossed(initiated: Session, responded: Session) -> bool:
    """Return whether both sides initiated at once.

    A peer that restarts right after a handshake also makes a second session, but only after it
    had used the first: that one is dead then, and must not win.
    """
    if not initiated.initiator or abs(initiated.created - responded.created) >= _CROSSING_TIME:
        return False
    return responded.created <= initiated.created or not initiated.heard
