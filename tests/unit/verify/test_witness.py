"""Which datagrams are counted as data, and where they go; and which way follows from the counts."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest

from ltk.kernel.packets import Packet
from ltk.verify.echo import Echoes
from ltk.verify.witness import Way, _datagrams, _way

SIZE = 1000
PLACE = (ip_address("203.0.113.9"), 51820)
PLACE_6 = (ip_address("2001:db8::9"), 51820)


def packet(payload: int, *, outgoing: bool = True, version: int = 4, protocol: int = 17) -> Packet:
    udp = struct.pack("!HHHH", 4000, 51820, 8 + payload, 0) + bytes(payload)
    if version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, protocol, 0)
        head += socket.inet_aton("192.168.1.2") + socket.inet_aton(str(PLACE[0]))
    else:
        head = struct.pack("!IHBB", 6 << 28, len(udp), protocol, 64)
        head += socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, str(PLACE_6[0]))
    return frame(head + udp, outgoing=outgoing)


def frame(bare: bytes, *, outgoing: bool = True) -> Packet:
    kind = {4: 0x0800, 6: 0x86DD}.get(bare[0] >> 4, 0)
    data = bytes(12) + struct.pack("!H", kind) + bare
    return Packet(0, outgoing, data, len(data), 0)


@pytest.mark.parametrize(
    ("payload", "many"),
    [(1072, 1), (1080, 1), (1100, 1), (2144, 2), (3240, 3), (500, 0), (148, 0), (1400, 0)],
)
def test_datagrams_are_counted_one_by_one_in_bursts_too_and_others_are_not(payload: int, many: int) -> None:
    found = list(_datagrams(iter([packet(payload)]), SIZE, outgoing=True))
    assert found == ([(PLACE, many)] if many else [])


def segment(payload: int) -> Packet:
    tcp = struct.pack("!HHIIBBHHH", 4000, 51820, 0, 0, 8 << 4, 0x18, 100, 0, 0) + bytes(12 + payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
    return frame(head + socket.inet_aton("192.168.1.2") + socket.inet_aton(str(PLACE[0])) + tcp)


@pytest.mark.parametrize(("payload", "many"), [(0, 0), (150, 0), (1074, 1), (2148, 2), (2300, 2)])
def test_datagrams_in_a_stream_are_counted_by_what_its_segments_carry(payload: int, many: int) -> None:
    found = list(_datagrams(iter([segment(payload)]), SIZE, outgoing=True))
    assert found == ([(PLACE, many)] if many else [])


def test_both_families_are_understood_and_nothing_else() -> None:
    others = [packet(1072, protocol=132), packet(1072, outgoing=False), frame(bytes([0x50]) + bytes(40))]
    wanted = [packet(1072, version=6), packet(1072)]
    found = list(_datagrams(iter([*others, *wanted]), SIZE, outgoing=True))
    assert found == [(PLACE_6, 1), (PLACE, 1)]


def echoes(arrived: int, answered: int) -> Echoes:
    return Echoes(10, set(range(arrived)), dict.fromkeys(range(answered), 0.01))


@pytest.mark.parametrize(
    ("arrived", "answered", "to_peer", "to_server", "at_server", "way"),
    [
        (10, 10, 20, 0, 0, Way.DIRECT),
        (10, 10, 0, 20, 20, Way.RELAY),
        (10, 10, 20, 1, 0, Way.BOTH),
        (10, 10, 20, 0, 1, Way.BOTH),  # the server has it, and nobody has sent it there
        (10, 10, 0, 20, 3, Way.BOTH),  # sent to the server, and not seen there
        (10, 10, 0, 0, 0, Way.BOTH),  # it came by a way that nobody looked at
        (9, 8, 18, 0, 0, Way.DIRECT),
        (9, 5, 19, 0, 0, Way.NONE),
        (0, 0, 10, 0, 0, Way.NONE),
    ],
)
def test_a_way_is_what_all_counts_agree_on(
    arrived: int, answered: int, to_peer: int, to_server: int, at_server: int, way: Way
) -> None:
    assert _way(echoes(arrived, answered), to_peer, to_server, at_server) is way


def test_the_loss_is_that_of_the_worse_direction() -> None:
    assert echoes(10, 10).loss == 0
    assert echoes(8, 8).loss == pytest.approx(0.2)
    assert echoes(10, 7).loss == pytest.approx(0.3)
    assert echoes(0, 0).loss == 1
