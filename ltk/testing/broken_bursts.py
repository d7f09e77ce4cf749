"""The burst data path, broken: what holds for a datagram by itself does not for many of them."""

from __future__ import annotations

from collections.abc import Sequence

from ltk.node.inbox import Inbox
from ltk.node.udp import Udp
from ltk.protocol import merge
from ltk.protocol.burst import Joiner
from ltk.protocol.drops import Drop
from ltk.protocol.peer import Peer
from ltk.protocol.receiver import Receiver
from ltk.protocol.replay import ReplayWindow
from ltk.protocol.segments import Slice
from ltk.protocol.session import SealInto, Session
from ltk.protocol.vnet import NEEDS_CSUM, VNET_SIZE, Packet
from ltk.testing.breaking import mutant, replace


@mutant("burst-loss-papered-over")
def _loss_papered_over() -> None:
    """A super-packet is joined as if nothing of it were missing."""
    join = Joiner._join

    def join_all(
        joiner: Joiner,
        decrypt: SealInto,
        data: memoryview,
        size: int,
        front: int,
        counters: Sequence[int],
        index: int,
        last: Slice,
        at: int,
        length: int,
    ) -> int:
        found = join(joiner, decrypt, data, size, front, counters, index, last, at, length)
        return found if found < 0 else min(index, last.number)

    replace(Joiner, "_join", join_all)


@mutant("burst-checksum-not-owed")
def _checksum_not_owed() -> None:
    """What comes out of a burst is said to be complete, with the checksum of its pseudo-header."""
    opened = Joiner.open

    def open_complete(
        joiner: Joiner, session: Session, data: memoryview, size: int, front: int, counters: Sequence[int]
    ) -> list[Packet] | None:
        packets = opened(joiner, session, data, size, front, counters)
        for packet in packets or ():
            packet.buffer[packet.start - VNET_SIZE] &= ~NEEDS_CSUM & 0xFF
        return packets

    replace(Joiner, "open", open_complete)


@mutant("burst-without-replay-window")
def _without_replay_window() -> None:
    """All counters of a burst are new."""
    replace(ReplayWindow, "accept_burst", lambda _window, _counters: True)


@mutant("burst-counters-by-their-ends")
def _counters_by_their_ends() -> None:
    """As many counters as lie between the first and the last are taken for just those."""
    accept = ReplayWindow.accept_burst

    def accept_between(window: ReplayWindow, counters: tuple[int, ...]) -> bool:
        first, last = counters[0], counters[-1]
        if last - first == len(counters) - 1:
            counters = tuple(range(first, last + 1))
        return accept(window, counters)

    replace(ReplayWindow, "accept_burst", accept_between)


@mutant("burst-source-not-checked")
def _source_not_checked() -> None:
    """A super-packet may come from any address inside the tunnel."""
    route = Receiver._route_in

    def route_any(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.SOURCE_NOT_ALLOWED and not payload.owes_nothing:
            receiver._outbox.deliver.append(payload)
            return None
        return drop

    replace(Receiver, "_route_in", route_any)


@mutant("merge-without-verifying")
def _merge_without_verifying() -> None:
    """A stock peer's packets are merged whatever their checksums say."""

    def is_right(_buffer: memoryview, _begin: int, _start: int, _end: int) -> bool:
        return True

    replace(merge, "_is_right", is_right)


@mutant("inbox-never-filled")
def _inbox_never_filled() -> None:
    """What has arrived waits in the socket's queue, one for all, until it is its turn."""

    def fill(_inbox: Inbox, _udp: Udp, _buffer: memoryview) -> None:
        return

    replace(Inbox, "fill", fill)
