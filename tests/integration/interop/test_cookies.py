"""Under a flood of handshakes either side demands a cookie of the other, and gets it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import flood
import pytest
from pair import LTK_PORT, STOCK_PORT, Asks, Pair, paired
from underlay import Underlay
from wiretap import Kind, Message

FLOOD_TIME = 15.0  # seconds; the asking side tries again with its cookie after 5

# Messages, and seconds between them. ltk is under load above 200 handshakes a second; wireguard-go
# when 128 of them wait for its workers, which takes bursts that come faster than it works.
FLOODS = {Asks.STOCK: (320, 0.1), Asks.LTK: (1536, 0.2)}


@contextmanager
def flooded(net: Underlay, pair: Pair) -> Iterator[None]:
    """A third host floods the side that answers, which is under load when the body starts."""
    burst, pause = FLOODS[pair.asks]
    flooder = net.host("flooder")
    port, key = (STOCK_PORT, pair.stock_key) if pair.asks is Asks.LTK else (LTK_PORT, pair.ltk_key)
    words = (pair.answering_at, str(port), key, str(burst), str(pause), str(FLOOD_TIME))
    with flooder.running(sys.executable, flood.__file__, *words) as process:
        assert process.stdout
        # ends with the flood at the latest
        assert process.stdout.readline().strip() == flood.DEMANDED, "the flooded side demands no cookie"
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
        with flooded(net, pair):
            pings = pair.asking.ping(pair.target, "-w", "12", count=5, interval=0.2)
            assert pings.received, f"no session came about:\n{pings.output}"
        messages = pair.tap()
    order = [
        first(messages, Kind.INITIATION, pair.asking_at),
        first(messages, Kind.COOKIE_REPLY, pair.answering_at),
        first(messages, Kind.INITIATION, pair.asking_at, with_mac2=True),
        first(messages, Kind.RESPONSE, pair.answering_at),
        first(messages, Kind.DATA, pair.asking_at),
        first(messages, Kind.DATA, pair.answering_at),
    ]
    assert order == sorted(order), messages[: max(order) + 1]
