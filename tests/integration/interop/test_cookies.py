"""Under a flood of handshakes either side demands a cookie of the other, and gets it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import wait_for
from pair import LTK_ADDRESSES, LTK_PORT, STOCK_ADDRESSES, STOCK_PORT, Asks, Pair, paired
from underlay import Underlay
from wiretap import Kind, Message, tapped

FLOOD_TIME = 15.0  # seconds; the asking side tries again with its cookie after 5
SCRIPT = str(Path(__file__).with_name("flood.py"))

# Messages, and seconds between them. ltk is under load above 200 handshakes a second; wireguard-go
# when 128 of them wait for its workers, which takes bursts that come faster than it works.
FLOODS = {Asks.STOCK: (320, 0.1), Asks.LTK: (1536, 0.2)}


@contextmanager
def flooded(net: Underlay, pair: Pair, asks: Asks, folder: Path) -> Iterator[None]:
    """A third host floods the side that answers, which is under load when the body starts."""
    burst, pause = FLOODS[asks]
    flooder = net.host("flooder")
    address, port, key = pair.ltk_at, LTK_PORT, pair.ltk_key
    if asks is Asks.LTK:
        address, port, key = pair.stock_at, STOCK_PORT, pair.stock_key
    words = (address, str(port), key, str(burst), str(pause), str(FLOOD_TIME))
    with (
        tapped(net.switch, flooder.name, folder / "flood.pcap", f"udp and src host {address}") as tap,
        flooder.running(sys.executable, SCRIPT, *words) as flood,
    ):

        def is_under_load() -> list[Message]:
            assert flood.poll() is None, "the flood is over"
            return [each for each in tap() if each.kind is Kind.COOKIE_REPLY]

        wait_for(is_under_load, "the flooded side to demand cookies")
        yield


def first(messages: list[Message], kind: Kind, source: str, *, with_mac2: bool = False) -> int:
    """The place of the first such message; fails when there is none."""
    for place, each in enumerate(messages):
        if each.kind is kind and each.source == source and each.has_mac2 >= with_mac2:
            return place
    raise AssertionError(f"no {kind.name} of {source} in {messages}")


@pytest.mark.parametrize("asks", Asks, ids=lambda asks: asks.value)
def test_under_load_a_cookie_is_demanded_and_the_handshake_completes(
    asks: Asks, net: Underlay, tmp_path: Path
) -> None:
    with paired(net, tmp_path, asks) as pair:
        asking, answering = pair.ltk_at, pair.stock_at
        source, target = pair.ltk, STOCK_ADDRESSES[0]
        if asks is Asks.STOCK:
            asking, answering = answering, asking
            source, target = pair.stock.place, LTK_ADDRESSES[0]
        with flooded(net, pair, asks, tmp_path):
            pings = source.ping(target, "-w", "12", count=100, interval=0.2)
            assert pings.received, f"no session came about:\n{pings.output}"
        messages = pair.tap()
    order = [
        first(messages, Kind.INITIATION, asking),
        first(messages, Kind.COOKIE_REPLY, answering),
        first(messages, Kind.INITIATION, asking, with_mac2=True),
        first(messages, Kind.RESPONSE, answering),
        first(messages, Kind.DATA, asking),
        first(messages, Kind.DATA, answering),
    ]
    assert order == sorted(order), messages[: max(order) + 1]
