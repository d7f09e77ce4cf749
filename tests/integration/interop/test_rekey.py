"""New sessions for old ones, with traffic in both directions and not a packet lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pair import LTK_ADDRESSES, STOCK_ADDRESSES, Asks, Pair, paired
from place import Pings, PingsToCome
from underlay import Underlay
from wiretap import Kind

EARLY = 6.0  # seconds; an initiator asks no more often than every 5
REAL = 120.0  # seconds; WireGuard paper, section 6.1


@contextmanager
def pinging_both_ways(pair: Pair, seconds: float, interval: float) -> Iterator[list[PingsToCome]]:
    """Echo requests from either side, `interval` seconds apart, for `seconds`."""
    count = int(seconds / interval)
    with (
        pair.ltk.pinging(STOCK_ADDRESSES[0], count=count, interval=interval) as from_ltk,
        pair.stock.place.pinging(LTK_ADDRESSES[1], count=count, interval=interval) as from_stock,
    ):
        yield [from_ltk, from_stock]


def start(pair: Pair, asks: Asks) -> None:
    """Have the side that asks get the first session, so that it is the initiator of the next ones too."""
    place = pair.ltk if asks is Asks.LTK else pair.stock.place
    address = STOCK_ADDRESSES[0] if asks is Asks.LTK else LTK_ADDRESSES[0]
    assert place.ping(address, count=1).received == 1
    assert [kind for kind, _ in pair.handshakes()] == [Kind.INITIATION, Kind.RESPONSE]


def assert_rekeyed(pair: Pair, asks: Asks, pings: list[Pings], *, at_least: int) -> None:
    """So many rekeys, all asked for by the same side and all answered, under data that all arrived."""
    asking, answering = pair.ltk_at, pair.stock_at
    if asks is Asks.STOCK:
        asking, answering = answering, asking
    handshakes = pair.handshakes()
    assert len(handshakes) >= 2 * (1 + at_least), handshakes
    expected = [(Kind.INITIATION, asking), (Kind.RESPONSE, answering)]
    assert handshakes == expected * (len(handshakes) // 2)
    for each in pings:
        assert each.received == each.sent, each.output


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_rekeys_that_ltk_asks_for_lose_no_packet(version: int, net: Underlay, tmp_path: Path) -> None:
    with paired(net, tmp_path, Asks.LTK, version=version, rekey_after=EARLY) as pair:
        start(pair, Asks.LTK)
        with pinging_both_ways(pair, 3.5 * EARLY, 0.01) as pings:
            assert_rekeyed(pair, Asks.LTK, [each.result() for each in pings], at_least=3)


def test_rekeys_at_120_seconds_lose_no_packet_whichever_side_asks(net: Underlay, tmp_path: Path) -> None:
    with ExitStack() as stack:
        pairs = {
            asks: stack.enter_context(paired(net, tmp_path, asks, name=asks.name.lower())) for asks in Asks
        }
        under_way = {}
        for asks, pair in pairs.items():
            start(pair, asks)
            under_way[asks] = stack.enter_context(pinging_both_ways(pair, REAL + 12.0, 0.05))
        for asks, pair in pairs.items():
            assert_rekeyed(pair, asks, [each.result() for each in under_way[asks]], at_least=1)
            first, second = (each.time for each in pair.tap() if each.kind is Kind.INITIATION)
            assert REAL <= second - first < REAL + 6.0, (
                f"the rekey came {second - first:.1f} s after the first"
            )
