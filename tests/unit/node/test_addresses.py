"""The machine's own addresses: those of every device but the loopback and the tunnel's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ltk.node import addresses
from ltk.node.addresses import AddressWatch, own_addresses
from ltk.node.poller import Poller


def test_loopback_and_the_named_device_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [("lo", "127.0.0.1"), ("eth0", "192.0.2.7"), ("ltk0", "10.0.0.2")]
    monkeypatch.setattr(addresses, "_ipv4", lambda: iter(found))
    monkeypatch.setattr(addresses, "IF_INET6", tmp_path / "none")
    assert own_addresses("ltk0") == ("192.0.2.7",)
    assert own_addresses("wg0") == ("192.0.2.7", "10.0.0.2")


def test_ipv6_addresses_that_lead_nowhere_or_are_not_ready_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe8000000000000000000000000000aa 02 40 20 80     eth0\n"
        "20010db8000000000000000000000007 02 40 00 00     eth0\n"
        "20010db8000000000000000000000008 02 40 00 40     eth0\n"  # tentative
    )
    monkeypatch.setattr(addresses, "_ipv4", lambda: iter(()))
    monkeypatch.setattr(addresses, "IF_INET6", table)
    assert own_addresses("ltk0") == ("2001:db8::7",)


def test_the_kernel_is_asked_and_answers_with_the_loopback() -> None:
    assert ("lo", "127.0.0.1") in set(addresses._ipv4())


def test_a_closed_watch_leaves_nothing_open(poller: Poller) -> None:
    watch = AddressWatch(poller, lambda: None)
    descriptor = watch._socket.fileno()
    watch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        socket.socket(fileno=descriptor).getsockname()
