"""What ltk says beyond WireGuard's protocol does not keep a stock peer awake."""

from __future__ import annotations

from pathlib import Path

from pair import all_paired
from underlay import Underlay
from wiretap import Kind

WINDOW = "20"  # seconds that are watched
HANDFUL = 10  # messages: one echo and its answer, five HELLOs, a keepalive of the stock side for them


def test_idle_pairs_say_next_to_nothing_whichever_side_has_asked(net: Underlay, tmp_path: Path) -> None:
    with all_paired(net, tmp_path) as pairs:
        for pair in pairs:
            pair.open_session()
        net.switch.run("sleep", WINDOW)  # this is the measurement: the time that is watched
        for pair in pairs:
            messages = pair.tap()
            handshakes = [each.kind for each in messages if each.kind is not Kind.DATA]
            # and not another one, for want of an answer to what a stock peer does not know
            assert handshakes == [Kind.INITIATION, Kind.RESPONSE], messages
            data = [each for each in messages if each.kind is Kind.DATA]
            assert 2 <= len(data) <= HANDFUL, data
            assert pair.asking.ping(pair.target).received == 5, "and the session is still there"
