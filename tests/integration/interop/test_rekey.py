"""New sessions for old ones, with traffic in both directions and not a packet lost.

The traffic is dense enough that datagrams of the old session are on their way as the new one comes about.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pair import LTK_ADDRESSES, STOCK_ADDRESSES, Asks, Pair, all_paired, paired
from transfer import streaming
from underlay import Underlay
from wiretap import Kind

EARLY = 6.0  # seconds; an initiator asks no more often than every 5
EARLY_TRAFFIC = 21  # seconds; for three rekeys
REAL = 120.0  # seconds; WireGuard paper, section 6.1
REAL_TRAFFIC = 123  # seconds; for one


def stream_both_ways(pairs: Sequence[Pair], seconds: int) -> None:
    """A stream from either side of each pair, all at once; no datagram may be missing."""
    with ExitStack() as stack:
        streams = [
            stack.enter_context(streaming(source, target, address, seconds))
            for pair in pairs
            for source, target, address in (
                (pair.ltk, pair.stock.place, STOCK_ADDRESSES[0]),
                (pair.stock.place, pair.ltk, LTK_ADDRESSES[1]),
            )
        ]
        for finish in streams:
            finish()


def rekeys(pair: Pair) -> int:
    """How many rekeys have passed; fails unless the same side asked for all, and each was answered."""
    handshakes = pair.handshakes()
    expected = [(Kind.INITIATION, pair.asking_at), (Kind.RESPONSE, pair.answering_at)]
    assert handshakes == expected * (len(handshakes) // 2), handshakes
    return len(handshakes) // 2 - 1


def test_rekeys_that_ltk_asks_for_lose_no_packet(net: Underlay, tmp_path: Path) -> None:
    with ExitStack() as stack:
        pairs = [
            stack.enter_context(
                paired(net, tmp_path, Asks.LTK, version=version, rekey_after=EARLY, name=f"v{version}")
            )
            for version in (4, 6)
        ]
        for pair in pairs:
            pair.open_session()
        stream_both_ways(pairs, EARLY_TRAFFIC)
        for pair in pairs:
            assert rekeys(pair) >= 3


def test_rekeys_at_120_seconds_lose_no_packet_whichever_side_asks(net: Underlay, tmp_path: Path) -> None:
    with all_paired(net, tmp_path) as pairs:
        for pair in pairs:
            pair.open_session()
        stream_both_ways(pairs, REAL_TRAFFIC)
        for pair in pairs:
            assert rekeys(pair) == 1
            first, second = (each.time for each in pair.tap() if each.kind is Kind.INITIATION)
            assert REAL <= second - first < REAL + 5.0, f"{pair.asks.value}, after {second - first:.1f} s"
