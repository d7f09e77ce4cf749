"""What a packet is, for people: one phrase, and for ltk's own messages what they say in clear.

Nothing here is opened: of a data message that is the receiver's index and the counter.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from ltk.capture.dissect import ARP, ICMP, ICMPV6, TCP, UDP, Seen
from ltk.protocol.messages import (
    COOKIE_REPLY_SIZE,
    DATA_OVERHEAD,
    INITIATION_SIZE,
    RELAY_HEADER_SIZE,
    RESPONSE_SIZE,
    Kind,
    channel_of,
    kind_of,
    read_burst,
    receiver_of_cookie_reply,
    receiver_of_response,
    sender_of,
    unpack_data_header,
)
from ltk.protocol.stun import mapped_address

UDP_HEADER = 8  # bytes
TCP_HEADER = 20  # bytes, without options
_FLAGS = (
    (0x02, "S"),
    (0x01, "F"),
    (0x04, "R"),
    (0x08, "P"),
    (0x10, "."),
    (0x20, "U"),
)  # as tcpdump says them

# RFC 792 and RFC 4443, and RFC 4861 for the neighbours: (type, code), or the type whatever the code
_ICMP: dict[int | tuple[int, int], str] = {
    0: "echo reply",
    8: "echo request",
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 13): "administratively prohibited",
    3: "unreachable",
    5: "redirect",
    11: "time exceeded",
}
_ICMPV6: dict[int | tuple[int, int], str] = {
    128: "echo request",
    129: "echo reply",
    (1, 0): "no route",
    (1, 1): "administratively prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    1: "unreachable",
    2: "packet too big",
    3: "time exceeded",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "multicast listener report",
}
_ECHOES = {(ICMP, 0), (ICMP, 8), (ICMPV6, 128), (ICMPV6, 129)}


def phrase(seen: Seen, segment: int = 0) -> str:
    """Say what a packet is; `segment` is the size of each segment's payload in a super-packet, else 0."""
    body = seen.body
    if seen.fragment:
        return f"fragment at {seen.fragment}, {len(body)} bytes"
    match seen.protocol:
        case None:
            return _arp(body) if seen.ethertype == ARP else f"ethertype {seen.ethertype:#06x}"
        case 17 if len(body) >= UDP_HEADER:
            return _udp(body[UDP_HEADER:], segment)
        case 6 if len(body) >= TCP_HEADER:
            return _tcp(body, segment)
        case 1 | 58 if len(body) >= 8:
            return _icmp(seen.protocol, body)
    return f"{_name(seen.protocol)}, {len(body)} bytes"


def message(datagram: memoryview) -> str | None:
    """Say which message of the tunnel a UDP payload is; None where it is none."""
    kind = kind_of(datagram)
    if kind is Kind.RELAYED:
        channel = channel_of(datagram)
        if len(datagram) == RELAY_HEADER_SIZE:
            return f"relay: channel {channel} is refused"
        inner = datagram[RELAY_HEADER_SIZE:]
        said = _wireguard(kind_of(inner), inner)
        return f"relayed by channel {channel}: {said}" if said else None
    return _stun(datagram) if kind is Kind.STUN else _wireguard(kind, datagram)


def _wireguard(kind: Kind | None, datagram: memoryview) -> str | None:
    size = len(datagram)
    match kind:
        case Kind.INITIATION if size == INITIATION_SIZE:
            return f"wireguard initiation from {sender_of(datagram):#010x}"
        case Kind.RESPONSE if size == RESPONSE_SIZE:
            to = receiver_of_response(datagram)
            return f"wireguard response from {sender_of(datagram):#010x} to {to:#010x}"
        case Kind.COOKIE_REPLY if size == COOKIE_REPLY_SIZE:
            return f"wireguard cookie reply to {receiver_of_cookie_reply(datagram):#010x}"
        case Kind.DATA if size >= DATA_OVERHEAD:
            _, to, counter = unpack_data_header(datagram)
            what = "keepalive" if size == DATA_OVERHEAD else f"data, {size - DATA_OVERHEAD} bytes,"
            return f"wireguard {what} to {to:#010x}, counter {counter}"
    return None


def _stun(datagram: memoryview) -> str | None:
    if len(datagram) < 20:
        return None
    match bytes(datagram[:2]):
        case b"\x00\x01":
            return "stun binding request"
        case b"\x01\x01":
            seen = mapped_address(datagram, bytes(datagram[8:20]))
            return "stun binding answer" + (f": {seen.address} port {seen.port}" if seen else "")
    return "stun"


def _udp(payload: memoryview, segment: int) -> str:
    first = payload[:segment] if segment else payload
    said = message(first) or f"udp, {len(first)} bytes"
    count = _segments(len(payload), segment)
    if count < 2:
        return said
    if segment >= DATA_OVERHEAD and (burst := read_burst(payload, segment)):
        begin, end = burst.counters[0], burst.counters[-1]
        said = said.removesuffix(f"counter {begin}") + f"counters {begin} to {end}"
    return f"super-packet of {count} segments: {said}"


def _tcp(header: memoryview, segment: int) -> str:
    flags = "".join(letter for bit, letter in _FLAGS if header[13] & bit)
    sequence, acknowledged = (int.from_bytes(header[at : at + 4], "big") for at in (4, 8))
    size = max(0, len(header) - ((header[12] >> 4) << 2))
    count = _segments(size, segment)
    burst = f"super-packet of {count} segments: " if count > 1 else ""
    answered = f", ack {acknowledged}" if header[13] & 0x10 else ""
    return f"{burst}tcp [{flags}], seq {sequence}{answered}, {size} bytes"


def _icmp(protocol: int, body: memoryview) -> str:
    names = _ICMP if protocol == ICMP else _ICMPV6
    kind, code = body[0], body[1]
    said = names.get((kind, code)) or names.get(kind) or f"type {kind}, code {code}"
    if (protocol, kind) in _ECHOES:
        identifier, number = (int.from_bytes(body[at : at + 2], "big") for at in (4, 6))
        said += f", id {identifier}, seq {number}"
    return f"{_name(protocol)} {said}"


def _arp(body: memoryview) -> str:
    """Ethernet and IPv4 only, RFC 826."""
    if len(body) < 28 or bytes(body[:6]) != bytes.fromhex("000108000604"):
        return "arp"
    asking, asked = (IPv4Address(bytes(body[at : at + 4])) for at in (14, 24))
    if int.from_bytes(body[6:8], "big") == 1:
        return f"arp who has {asked}? tell {asking}"
    return f"arp {asking} is at {body[8:14].hex(':')}"


def _segments(payload: int, segment: int) -> int:
    return -(-payload // segment) if segment else 1


def _name(protocol: int) -> str:
    return {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6"}.get(protocol, f"protocol {protocol}")
