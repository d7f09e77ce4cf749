"""HELLO: how two peers learn in each session that both speak ltk's frames, and which.

Until a HELLO has come, and for ever if none does, the peer may be stock WireGuard.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ltk.protocol.events import Event, HelloReceived
from ltk.protocol.frames import HELLO_VERSION, Capability, Hello, pack_hello
from ltk.protocol.local import Local
from ltk.protocol.messages import FrameKind
from ltk.protocol.session import Session
from ltk.protocol.timers import Timer, Timers

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer

FIRST_RETRY = 1.0  # seconds, doubled each time
LAST_RETRY = 32.0
TRIES = 5  # per session, towards a peer that never answered one


class Greeting:
    """What one peer has said of itself, and whether it knows the same of this node.

    `knows_frames` says that it speaks the frames from OBSERVED to GOODBYE, `takes_segments` that it may be
    sent super-packets as segments. Both are asked for with each packet.
    """

    __slots__ = ("_events", "_own", "_peer", "_timers", "_tries", "hello", "knows_frames", "takes_segments")

    def __init__(self, peer: Peer, local: Local, timers: Timers) -> None:
        """Say nothing yet; `timers` are the peer's, of which REPEAT_HELLO is used here."""
        segments = Capability.SEGMENTS if local.offloads else Capability(0)
        self._own = Hello(HELLO_VERSION, Capability.P2P | segments)
        self._events: deque[Event] = local.outbox.events
        self._peer = peer
        self._timers = timers
        self._tries = 0
        self._take(None)

    @property
    def is_first(self) -> bool:
        """Whether nothing is known of the peer, and it has been greeted for the first time just now."""
        return self.hello is None and self._tries == 1

    def forget(self) -> None:
        """Know nothing of the peer."""
        self._take(None)
        self._tries = 0

    def start(self, now: float) -> None:
        """Say HELLO on a new session until it is acknowledged."""
        self._tries = 0
        self.say(now)

    def say(self, now: float) -> None:
        """Say HELLO on the current session, if it can be said, and arm the next time."""
        if not self._peer.has_session(now) or (self.hello is None and self._tries >= TRIES):
            return
        self._peer.say_packed(pack_hello(FrameKind.HELLO, self._own), now)
        # To stock WireGuard it is data as well, upon which at least a keepalive comes. Nothing comes of a
        # peer that restarted right after the handshake, and whoever has no data would not find out.
        self._peer.expect_anything(now)
        delay = min(FIRST_RETRY * 2**self._tries, LAST_RETRY)
        self._tries += 1
        self._timers.arm(Timer.REPEAT_HELLO, now + delay)

    def accept_hello(self, session: Session, hello: Hello, now: float) -> None:
        """Learn that the peer speaks ltk's frames, and acknowledge on the same session."""
        is_news = self._learn(hello)
        # Before the acknowledgement, upon which a client announces itself.
        self._peer.tell_observed(now, session)
        self._peer.say_packed(pack_hello(FrameKind.HELLO_ACK, self._own), now, on=session)
        if is_news:
            self._peer.greeted(now)

    def accept_hello_ack(self, session: Session, hello: Hello, now: float) -> None:
        """Stop repeating the HELLO of this session."""
        if session is self._peer.keyring.current:
            self._timers.disarm(Timer.REPEAT_HELLO)
        if self._learn(hello):
            self._peer.greeted(now)

    def _learn(self, hello: Hello) -> bool:
        """Return whether that was not known."""
        if hello == self.hello:
            return False
        self._take(hello)
        self._events.append(HelloReceived(self._peer.config.name, hello.version, hello.capabilities))
        return True

    def _take(self, hello: Hello | None) -> None:
        capabilities = Capability(0) if hello is None else Capability(hello.capabilities)
        self.hello = hello
        self.knows_frames = Capability.P2P in capabilities
        self.takes_segments = Capability.SEGMENTS in capabilities
