"""A client of ltk's whose server is a wireguard-go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import wait_for
from pair import LTK_ADDRESSES, STOCK_ADDRESSES, Asks, paired
from stock import MTU
from transfer import transferred
from underlay import Host, Underlay
from wiretap import Kind

BULK = 16 << 20  # bytes


@pytest.mark.parametrize("psk", [True, False], ids=["psk", "no-psk"])
@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_an_ltk_client_reaches_and_is_reached_through_a_stock_server(
    version: int, psk: bool, net: Underlay, tmp_path: Path
) -> None:
    with paired(net, tmp_path, Asks.LTK, version=version, psk=psk) as pair:
        for address in STOCK_ADDRESSES:
            pings = pair.ltk.ping(address, count=20)
            assert pings.received == 20, pings.output
        for address in LTK_ADDRESSES:
            pings = pair.stock.place.ping(address, count=20)
            assert pings.received == 20, pings.output
        for header, address in zip((28, 48), STOCK_ADDRESSES, strict=True):
            pings = pair.ltk.ping(address, "-M", "do", "-s", str(MTU - header))
            assert pings.received == 5, pings.output
        assert pair.stock.has_shaken_hands
        assert [kind for kind, _ in pair.handshakes()] == [Kind.INITIATION, Kind.RESPONSE]


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_a_bulk_transfer_with_a_stock_server_arrives_whole_in_both_directions(
    version: int, net: Underlay, tmp_path: Path
) -> None:
    with paired(net, tmp_path, Asks.LTK, version=version) as pair:
        transferred(pair.ltk, pair.stock.place, STOCK_ADDRESSES[0], BULK)
        transferred(pair.stock.place, pair.ltk, LTK_ADDRESSES[1], BULK)
        received, sent = (int(each) for each in pair.stock.shown("transfer"))
        assert received > BULK
        assert sent > BULK


@pytest.mark.parametrize("asks", Asks, ids=lambda asks: asks.value)
def test_with_different_preshared_keys_there_is_no_session(asks: Asks, net: Underlay, tmp_path: Path) -> None:
    """The proofs above could not fail if the key were left out on either side."""
    with paired(net, tmp_path, asks, same_psk=False) as pair:
        with pair.asking.pinging(pair.target, "-W", "1", count=3, interval=0.2) as pings:
            wait_for(
                lambda: Kind.RESPONSE in {each.kind for each in pair.tap()},
                "an answer, which the asking side then finds not authentic",
            )
            assert pings.result().received == 0
        assert Kind.DATA not in {each.kind for each in pair.tap()}


def test_what_a_stock_server_sends_in_a_stream_reaches_the_kernel_in_super_packets(
    net: Underlay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel counts at the device what it was given: packets larger than any that was sent."""
    monkeypatch.delenv("LTK_OFFLOADS", raising=False)  # it is these that join them
    with paired(net, tmp_path, Asks.LTK) as pair:
        pair.open_session()
        before = received(pair.ltk)
        transferred(pair.stock.place, pair.ltk, LTK_ADDRESSES[0], BULK)
        packets, size = (now - then for now, then in zip(received(pair.ltk), before, strict=True))
        print(f"{size / packets:.0f} bytes in a packet")
        assert size > BULK
        assert size / packets > 2 * MTU


def received(host: Host) -> tuple[int, int]:
    """Packets and bytes that the kernel has taken from the daemon."""
    (link,) = json.loads(host.run("ip", "-s", "-j", "link", "show", "ltk0"))
    counted = link["stats64"]["rx"]
    return counted["packets"], counted["bytes"]
