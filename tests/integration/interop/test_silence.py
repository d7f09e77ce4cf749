"""What ltk says beyond WireGuard's protocol does not keep a stock peer awake."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import wait_for
from pair import LTK_ADDRESSES, STOCK_ADDRESSES, Asks, paired
from underlay import Underlay
from wiretap import Kind

WINDOW = "20"  # seconds that are watched
HANDFUL = 10  # messages: one echo and its answer, five HELLOs, a keepalive of the stock side for them


@pytest.mark.parametrize("asks", Asks, ids=lambda asks: asks.value)
def test_an_idle_pair_says_next_to_nothing(asks: Asks, net: Underlay, tmp_path: Path) -> None:
    with paired(net, tmp_path, asks) as pair:
        place = pair.ltk if asks is Asks.LTK else pair.stock.place
        address = STOCK_ADDRESSES[0] if asks is Asks.LTK else LTK_ADDRESSES[0]
        assert place.ping(address, count=1).received == 1
        wait_for(lambda: Kind.DATA in {each.kind for each in pair.tap()}, "the capture of the echo")
        net.switch.run("sleep", WINDOW)  # this is the measurement: the time that is watched
        messages = pair.tap()
        assert pair.handshakes() == [
            (Kind.INITIATION, messages[0].source),
            (Kind.RESPONSE, messages[0].target),
        ], "one handshake, and no second one for want of an answer to what a stock peer does not know"
        data = [each for each in messages if each.kind is Kind.DATA]
        assert len(data) <= HANDFUL, data
        assert place.ping(address).received == 5, "and it is still there"
