from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from ltk.errors import LtkError
from ltk.node import udp as module
from ltk.node.udp import RECEIVE_FAILED, SEND_FAILED, SEND_FULL, Udp
from ltk.protocol.messages import Endpoint

IP_RECVTTL = 12  # linux/in.h


@pytest.fixture
def udp() -> Iterator[Udp]:
    made = Udp.open(0, Counter())
    yield made
    made.close()


def buffer() -> memoryview:
    return memoryview(bytearray(2048))


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
def test_both_families_are_served_and_none_is_seen_mapped(
    udp: Udp, family: socket.AddressFamily, address: str
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        try:
            peer.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        peer.settimeout(5)
        to = Endpoint(address, peer.getsockname()[1])
        assert udp.send(b"there", to)
        payload, source = peer.recvfrom(64)
        assert payload == b"there"
        assert source[1] == udp.port
        peer.sendto(b"back", (address, udp.port))
        into = buffer()
        assert udp.receive(into) == (4, 4, to)
        assert bytes(into[:4]) == b"back"


def test_a_socket_at_one_address_hears_what_comes_there_and_nothing_else() -> None:
    udp = Udp.open(0, Counter(), host="127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.bind(("127.0.0.2", 0))
        to = Endpoint("127.0.0.2", peer.getsockname()[1])
        assert udp.send(b"there", to)
        assert peer.recvfrom(64) == (b"there", ("127.0.0.1", udp.port))
        peer.sendto(b"elsewhere", ("127.0.0.3", udp.port))
        peer.sendto(b"back", ("127.0.0.1", udp.port))
        into = buffer()
        assert udp.receive(into) == (4, 4, to)
        assert bytes(into[:4]) == b"back"
        assert udp.receive(into) is None
    udp.close()


def test_an_address_that_the_machine_does_not_have_is_told() -> None:
    with pytest.raises(LtkError, match=r"this machine does not have the address 192\.0\.2\.1"):
        Udp.open(0, Counter(), host="192.0.2.1")


def test_nothing_to_read_is_none_and_no_error(udp: Udp) -> None:
    assert udp.receive(buffer()) is None
    assert not udp.drops


def test_a_port_that_is_taken_is_said_with_who_to_ask(udp: Udp) -> None:
    with pytest.raises(LtkError, match=f"opening UDP port {udp.port}: it is in use") as caught:
        Udp.open(udp.port, Counter())
    assert str(udp.port) in str(caught.value.hint)


@pytest.mark.parametrize(
    ("payload", "to"),
    [
        (b"x", Endpoint("255.255.255.255", 9)),  # EACCES: broadcasting is not asked for
        (bytes(65600), Endpoint("127.0.0.1", 9)),  # EMSGSIZE
    ],
)
def test_what_the_kernel_refuses_to_send_is_counted(udp: Udp, payload: bytes, to: Endpoint) -> None:
    assert udp.send(payload, to) is False
    assert udp.drops == {SEND_FAILED: 1}


def test_a_closed_port_at_the_other_end_is_survived(udp: Udp) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        to = Endpoint("127.0.0.1", gone.getsockname()[1])
    for _ in range(3):
        udp.send(b"x", to)
        assert udp.receive(buffer()) in (None, (0, None))


def test_a_full_send_buffer_drops_and_never_blocks() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    udp = Udp(_Connected(ours), Counter())
    while udp.send(bytes(1000), Endpoint("192.0.2.1", 9)):
        pass
    assert udp.drops == {SEND_FULL: 1}
    udp.close()
    theirs.close()


def test_an_error_of_the_network_is_counted_and_names_no_source() -> None:
    udp = Udp(_Refused(), Counter())
    assert udp.receive(buffer()) == (0, 0, None)
    assert udp.drops == {RECEIVE_FAILED: 1}
    udp.close()


def test_a_flood_of_sources_does_not_fill_memory(udp: Udp) -> None:
    for number in range(3 * module.CACHE_LIMIT):
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        assert udp._learn(("::ffff:" + host, 1, 0, 0)) == Endpoint(host, 1)
        udp._target(Endpoint(host, 1))
    assert len(udp._endpoints) <= module.CACHE_LIMIT
    assert len(udp._targets) <= module.CACHE_LIMIT


def test_a_link_local_source_keeps_its_link(udp: Udp) -> None:
    source = udp._learn(("fe80::1", 9, 0, 3))
    assert source == Endpoint("fe80::1%3", 9)
    assert udp._target(source) == ("fe80::1", 9, 0, 3)


class _Connected(socket.socket):
    """A socket pair's end that takes the addresses of UDP."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end.family, end.type, 0, fileno=end.detach())

    def sendto(self, data: bytes, address: object) -> int:  # type: ignore[override]
        return self.send(data)


class _Refused(socket.socket):
    def recvfrom_into(self, *_: object) -> tuple[int, object]:
        raise ConnectionRefusedError(111, "refused")


@pytest.mark.parametrize(
    ("family", "address", "asked", "level", "kind"),
    [
        (
            socket.AF_INET,
            "127.0.0.1",
            (socket.IPPROTO_IP, IP_RECVTTL),
            socket.IPPROTO_IP,
            socket.IP_TTL,
        ),
        (
            socket.AF_INET6,
            "::1",
            (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT),
            socket.IPPROTO_IPV6,
            socket.IPV6_HOPLIMIT,
        ),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_hop_limit_is_that_of_one_datagram_alone(
    udp: Udp, family: socket.AddressFamily, address: str, asked: tuple[int, int], level: int, kind: int
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        try:
            peer.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        peer.setsockopt(*asked, 1)
        peer.settimeout(5)
        to = Endpoint(address, peer.getsockname()[1])
        assert udp.send(b"near", to, 2)
        assert udp.send(b"far", to)
        found = {}
        for _ in range(2):
            data, ancillary, _, _ = peer.recvmsg(64, 64)
            found[data] = [
                int.from_bytes(value, "little") for *where, value in ancillary if where == [level, kind]
            ]
        assert found[b"near"] == [2]
        assert found[b"far"][0] > 30


def test_what_arrives_at_a_numbered_socket_says_so() -> None:
    made = Udp.open(0, Counter(), number=7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        assert made.send(b"there", Endpoint("127.0.0.1", peer.getsockname()[1], 7))
        _, (_, port) = peer.recvfrom(64)
        peer.sendto(b"back", ("127.0.0.1", port))
        assert made.receive(buffer()) == (4, 4, Endpoint("127.0.0.1", peer.getsockname()[1], 7))
    made.close()
