"""What a peer needs of the rest of its node, and what its paths need of the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ltk.protocol.frames import Frame
from ltk.protocol.messages import Endpoint

if TYPE_CHECKING:
    from ltk.protocol.peer import Peer


class Broker(Protocol):
    """Talks to the server for the peers."""

    def session_started(self, peer: Peer, now: float) -> None:
        """Note a new session with a peer, or that it has said that it speaks ltk's frames."""

    def want_channel(self, peer: Peer, now: float) -> None:
        """Open a relay channel to the peer, if there is a server."""

    def unwant_channel(self, peer: Peer) -> None:
        """Stop asking for one."""

    def connect(self, peer: Peer, attempt: int, now: float) -> bool:
        """Ask the server to introduce the peer; return False where there is none to be asked."""

    def unseen(self, now: float) -> None:
        """Note that the server sees this node by UDP no more."""

    def seen_again(self, now: float) -> None:
        """Note that UDP gets to the server again, which may have to be asked where it sees this node."""


class Carrier(Protocol):
    """Seals and sends for the paths, and makes use of what they find."""

    def probe(self, endpoint: Endpoint, challenge: bytes, now: float, hops: int = 0) -> bool:
        """Seal a PROBE and send it there; return False without a session that could.

        With `hops` it gets no further than that many routers.
        """

    def tell(self, frame: Frame, now: float) -> bool:
        """Seal a frame for the peer and send it as data goes; return False where that cannot be done."""

    def connect(self, attempt: int, now: float) -> bool:
        """Ask the server for an introduction; return False without one that could be asked."""

    def way_found(self, now: float) -> None:
        """Use that there is somewhere to send data and handshakes to."""

    def no_way_found(self) -> None:
        """Note that an attempt has failed."""
