"""Packets of the tests' own making: the simplest headers that are right, put together by hand."""

from __future__ import annotations

from ipaddress import ip_address

ALICE, BOB = "192.0.2.1", "198.51.100.7"
ETHERNET = bytes.fromhex("020000000002 020000000001")


def ip(source: str, target: str, protocol: int, body: bytes) -> bytes:
    """A bare IP packet."""
    ends = ip_address(source).packed + ip_address(target).packed
    if ip_address(source).version == 4:
        length = (20 + len(body)).to_bytes(2, "big")
        return b"\x45\x00" + length + bytes(4) + bytes((64, protocol)) + bytes(2) + ends + body
    return b"\x60\x00\x00\x00" + len(body).to_bytes(2, "big") + bytes((protocol, 64)) + ends + body


def udp(
    payload: bytes, source: str = ALICE, target: str = BOB, ports: tuple[int, int] = (40001, 51820)
) -> bytes:
    """A UDP datagram in a bare IP packet."""
    numbers = b"".join(number.to_bytes(2, "big") for number in (*ports, 8 + len(payload)))
    return ip(source, target, 17, numbers + bytes(2) + payload)


def tcp(payload: bytes, flags: int = 0x18) -> bytes:
    """A TCP segment in a bare IP packet: sequence number 7, acknowledging 9."""
    numbers = bytes.fromhex("1f90 0050 00000007 00000009 50") + bytes((flags,)) + bytes(6)
    return ip(ALICE, BOB, 6, numbers + payload)


def echo(kind: int = 8, identifier: int = 5, number: int = 3) -> bytes:
    """An ICMP echo in a bare IP packet."""
    numbers = identifier.to_bytes(2, "big") + number.to_bytes(2, "big")
    return ip(ALICE, BOB, 1, bytes((kind, 0, 0, 0)) + numbers)


def data(receiver: int, counter: int, payload: int) -> bytes:
    """A WireGuard data message with so many bytes inside."""
    return (
        b"\x04\0\0\0" + receiver.to_bytes(4, "little") + counter.to_bytes(8, "little") + bytes(payload + 16)
    )


def relayed(channel: int, message: bytes = b"") -> bytes:
    """A message for a channel; alone, that the channel is refused."""
    return b"\x80\0\0\0" + channel.to_bytes(4, "little") + message
