"""Against wireguard-go once more, with a daemon that does everything packet by packet."""

from __future__ import annotations

from pathlib import Path

import pytest
from pair import LTK_ADDRESSES, STOCK_ADDRESSES, Asks, paired
from transfer import transferred
from underlay import Underlay

BULK = 4 << 20  # bytes


@pytest.mark.parametrize("asks", Asks, ids=lambda asks: asks.value)
def test_without_offloads_a_bulk_transfer_arrives_whole_in_both_directions(
    asks: Asks, net: Underlay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTK_OFFLOADS", "off")
    with paired(net, tmp_path, asks) as pair:
        assert "offloads: off" in (tmp_path / "pair" / "ltk.log").read_text()
        pair.open_session()
        transferred(pair.ltk, pair.stock.place, STOCK_ADDRESSES[1], BULK)
        transferred(pair.stock.place, pair.ltk, LTK_ADDRESSES[0], BULK)
