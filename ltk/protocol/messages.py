"""The layout of everything on the wire, and the only module that packs and unpacks it.

The four messages are those of the WireGuard paper, section 5.4. Integers are little-endian. A
message's type is one byte followed by three zero bytes, read here as one 32-bit integer, so that
a non-zero reserved byte is an unknown type.

    1 initiation    148   type 4, sender 4, ephemeral 32, static 32+16, timestamp 12+16, mac1 16, mac2 16
    2 response       92   type 4, sender 4, receiver 4, ephemeral 32, empty 0+16, mac1 16, mac2 16
    3 cookie reply   64   type 4, receiver 4, nonce 24, cookie 16+16
    4 data         32+n   type 4, receiver 4, counter 8, payload n, tag 16

A datagram that a server relays is a whole message of these four behind eight bytes:

    relayed         8+n   type 0x80, channel 4, message n

Alone, those eight bytes are the server's notice that it refuses the channel.

Inside a session the first byte of the payload tells its kind: an IP packet by its version, none
for a keepalive, 0x2_ for a control frame (see frames).
"""

from __future__ import annotations

import socket
import struct
from enum import IntEnum
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview

INITIATION_SIZE = 148  # bytes, as the other sizes
RESPONSE_SIZE = 92
COOKIE_REPLY_SIZE = 64
DATA_HEADER_SIZE = 16
DATA_OVERHEAD = 32  # the header and the tag
MAC_SIZE = 16
MACS_SIZE = 2 * MAC_SIZE  # mac1 and mac2 end both handshake messages
TAG_SIZE = 16
RELAY_HEADER_SIZE = 8

MAIN_SOCKET = 0
STUN_SOCKET = 1  # a server's second one, where only STUN is spoken

_STUN_MAGIC_COOKIE = 0x2112A442  # RFC 8489, section 5; big-endian in bytes 4 to 8


class Endpoint(NamedTuple):
    """Where a peer is reached on the underlay, and from which socket. IPv4 in dotted form, never v4-mapped.

    `socket` is this node's own number for one of its sockets: MAIN_SOCKET, a server's STUN_SOCKET, or one
    that was opened to be seen from another port (see sockets); below zero, one of its TCP streams (see
    streams). The same remote by two sockets is two endpoints.
    """

    address: str
    port: int
    socket: int = 0

    @property
    def is_stream(self) -> bool:
        """Whether it is reached over TCP."""
        return self.socket < 0

    def packed(self) -> bytes:
        """Return the address and port as bytes: 6 for IPv4, 18 for IPv6 (a zone is left out)."""
        address = self.address.partition("%")[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.inet_pton(family, address) + self.port.to_bytes(2, "big")


class Relay(NamedTuple):
    """A peer reached through the server, by the number of this node's channel to it."""

    channel: int

    def packed(self) -> bytes:
        """Return bytes that no packed endpoint equals."""
        return self.channel.to_bytes(4, "little") + b"relay"


Place = Endpoint | Relay  # where a datagram comes from or goes to


class Kind(IntEnum):
    """What a datagram is, told from its first eight bytes."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE_REPLY = 3
    DATA = 4
    RELAYED = 0x80
    STUN = -1  # told by its magic cookie: it has no type of this kind


class FrameKind(IntEnum):
    """The control frames inside a session, by their first byte."""

    HELLO = 0x20
    HELLO_ACK = 0x21
    OBSERVED = 0x22
    ANNOUNCE = 0x23
    ANNOUNCE_ACK = 0x24
    CONNECT = 0x25
    INTRODUCE = 0x26
    NOT_AVAILABLE = 0x27
    PROBE = 0x28
    PROBE_REPLY = 0x29
    CHANNEL = 0x2A
    CHANNEL_ACK = 0x2B
    GOODBYE = 0x2C
    EXPECT = 0x2D


class Initiation(NamedTuple):
    """Message 1 without its macs."""

    sender: int
    ephemeral: bytes
    static: bytes
    timestamp: bytes


class Response(NamedTuple):
    """Message 2 without its macs."""

    sender: int
    receiver: int
    ephemeral: bytes
    empty: bytes


class CookieReply(NamedTuple):
    """Message 3."""

    receiver: int
    nonce: bytes
    cookie: bytes


_INITIATION = struct.Struct("<II32s48s28s")
_RESPONSE = struct.Struct("<III32s16s")
_COOKIE_REPLY = struct.Struct("<II24s32s")
_DATA_HEADER = struct.Struct("<IIQ")
_INDEX = struct.Struct("<I")
_RELAY_HEADER = struct.Struct("<II")
_DATA_HEADER_FRONT = struct.Struct("<II")
_TAI64N = struct.Struct(">QI")
_TAI64_EPOCH = (1 << 62) + 10  # 1970 in TAI64, with the ten seconds that WireGuard's own code adds

# Bound methods: a data header is written and read once per packet.
pack_data_header_into = _DATA_HEADER.pack_into  # (buffer, offset, Kind.DATA, receiver, counter)
unpack_data_header = _DATA_HEADER.unpack_from  # (buffer) -> (type, receiver, counter)
pack_relay_header_into = _RELAY_HEADER.pack_into  # (buffer, offset, Kind.RELAYED, channel)

_KINDS = {kind.value: kind for kind in Kind if kind is not Kind.STUN}


def data_header_front(receiver: int, channel: int | None) -> bytes:
    """Return what all data headers of a burst have before the counter; with a `channel`, its header too."""
    own = _DATA_HEADER_FRONT.pack(Kind.DATA, receiver)
    return own if channel is None else _RELAY_HEADER.pack(Kind.RELAYED, channel) + own


def kind_of(datagram: memoryview) -> Kind | None:
    """Tell what a datagram claims to be; None where it is nothing this network speaks."""
    if len(datagram) < 8:
        return None
    kind = _KINDS.get(int.from_bytes(datagram[:4], "little"))
    if kind is None and int.from_bytes(datagram[4:8], "big") == _STUN_MAGIC_COOKIE:
        return Kind.STUN
    return kind


class Burst(NamedTuple):
    """Data messages that arrived back to back, of one session or at least of one channel."""

    is_relayed: bool
    channels: tuple[int, ...]  # one each, where they are relayed
    receiver: int | None  # the index that all of them have
    counters: tuple[int, ...]

    @property
    def front(self) -> int:
        """How many bytes each has before its data header."""
        return RELAY_HEADER_SIZE if self.is_relayed else 0


_burst_layouts: dict[tuple[int, int, bool], struct.Struct] = {}  # by size, count, and whether relayed
_MAX_LAYOUTS = 256


def read_burst(data: memoryview, size: int) -> Burst | None:
    """Read the headers of data messages of `size` bytes, of which the last may be shorter.

    None where they are not all alike. Whoever only relays looks no further than the channels, and where
    the messages do not all have one receiver, that is None.
    """
    count = -(-len(data) // size)
    first = data[0]
    is_relayed = first == Kind.RELAYED
    front = RELAY_HEADER_SIZE if is_relayed else 0
    if len(data) - (count - 1) * size < front + DATA_OVERHEAD or (not is_relayed and first != Kind.DATA):
        return None
    layout = _burst_layouts.get((size, count, is_relayed))
    if layout is None:
        if len(_burst_layouts) >= _MAX_LAYOUTS:
            _burst_layouts.clear()
        one = "IIIIQ" if is_relayed else "IIQ"
        gap = size - struct.calcsize("<" + one)
        layout = struct.Struct("<" + f"{one}{gap}x" * (count - 1) + one)
        _burst_layouts[size, count, is_relayed] = layout
    fields = layout.unpack_from(data)
    channels: tuple[int, ...] = ()
    step = 3
    if is_relayed:
        step = 5
        channels = fields[1::5]
        if fields[0::5].count(Kind.RELAYED) != count or channels.count(channels[0]) != count:
            return None
    receivers = fields[step - 2 :: step]
    alike = receivers.count(receivers[0]) == count and fields[step - 3 :: step].count(Kind.DATA) == count
    if not alike and not is_relayed:
        return None
    return Burst(is_relayed, channels, receivers[0] if alike else None, fields[step - 1 :: step])


def pack_initiation(message: Initiation) -> bytes:
    """Lay out message 1 up to its macs: 116 bytes."""
    return _INITIATION.pack(Kind.INITIATION, *message)


def unpack_initiation(datagram: memoryview) -> Initiation:
    """Read message 1; the caller has checked its type and length."""
    return Initiation._make(_INITIATION.unpack_from(datagram)[1:])


def pack_response(message: Response) -> bytes:
    """Lay out message 2 up to its macs: 60 bytes."""
    return _RESPONSE.pack(Kind.RESPONSE, *message)


def unpack_response(datagram: memoryview) -> Response:
    """Read message 2; the caller has checked its type and length."""
    return Response._make(_RESPONSE.unpack_from(datagram)[1:])


def pack_cookie_reply(message: CookieReply) -> bytes:
    """Lay out message 3: 64 bytes."""
    return _COOKIE_REPLY.pack(Kind.COOKIE_REPLY, *message)


def unpack_cookie_reply(datagram: memoryview) -> CookieReply:
    """Read message 3; the caller has checked its type and length."""
    return CookieReply._make(_COOKIE_REPLY.unpack_from(datagram)[1:])


def sender_of(handshake: memoryview) -> int:
    """Return the sender's index of message 1 or 2."""
    return int(_INDEX.unpack_from(handshake, 4)[0])


def receiver_of_response(response: memoryview) -> int:
    """Return the receiver's index of message 2."""
    return int(_INDEX.unpack_from(response, 8)[0])


def receiver_of_cookie_reply(reply: memoryview) -> int:
    """Return the receiver's index of message 3."""
    return int(_INDEX.unpack_from(reply, 4)[0])


def channel_of(relayed: memoryview) -> int:
    """Return the channel of a relayed datagram or of a refusal."""
    return int(_INDEX.unpack_from(relayed, 4)[0])


def relayed(channel: int, datagram: Buffer = b"") -> bytes:
    """Lay out a datagram for a channel; without one, the notice that the channel is refused."""
    return _RELAY_HEADER.pack(Kind.RELAYED, channel) + datagram


def pack_timestamp(unix_nanoseconds: int) -> bytes:
    """Return a moment as TAI64N: 12 bytes that compare as the moments do."""
    seconds, nanoseconds = divmod(unix_nanoseconds, 1_000_000_000)
    return _TAI64N.pack(_TAI64_EPOCH + seconds, nanoseconds)


def ip_packet_length(payload: memoryview) -> int | None:
    """Return the length that an IP packet states for itself; padding after it is allowed.

    None where the version, the header or the stated length cannot be right (RFC 791, section 3.1
    and RFC 8200, section 3). A jumbogram, which states 0, is not carried.
    """
    size = len(payload)
    if size < 20:
        return None
    first = payload[0]
    if first >> 4 == 4:
        length = payload[2] << 8 | payload[3]
        header = (first & 15) << 2
        return length if 20 <= header <= length <= size else None
    if first >> 4 == 6 and size >= 40:
        length = 40 + (payload[4] << 8 | payload[5])
        return length if length <= size else None
    return None


def ip_source(packet: memoryview) -> bytes:
    """Return the source address of a well-formed IP packet: 4 or 16 bytes."""
    return bytes(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])


def ip_destination(packet: memoryview) -> bytes:
    """Return the destination address of a well-formed IP packet: 4 or 16 bytes."""
    return bytes(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])
