"""Capture files that Wireshark and tcpdump read: blocks of pcapng (draft-ietf-opsawg-pcapng). Pure.

    section header          length, byte-order magic, version 1.0, section length unknown, options
    interface description   link type, snap length 0 (none), options: name, nanoseconds
    enhanced packet         interface, time in two halves, captured and original length, bytes, options
    interface statistics    interface, time, options: packets received and dropped

Every block has its type and length in front and its length once more behind, and is a multiple of four
bytes long. The byte order is little-endian, which the magic tells.
"""

from __future__ import annotations

import struct

MAGIC = 0x1A2B3C4D
SECTION_HEADER, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6  # types of blocks
UNKNOWN_LENGTH = -1

# options: of every block, section header, interface description, packet, statistics
END, COMMENT = 0, 1
USER_APPLICATION = 4
IF_NAME, IF_TSRESOL = 2, 9
EPB_FLAGS = 2
ISB_RECEIVED, ISB_DROPPED = 4, 5

NANOSECONDS = b"\x09"  # 10^-9 seconds
INBOUND, OUTBOUND = 1, 2  # of EPB_FLAGS

_BLOCK = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
_SECTION = struct.Struct("<IHHq")
_INTERFACE = struct.Struct("<HHI")
_PACKET = struct.Struct("<IIIII")
_STATISTICS = struct.Struct("<III")


def section(application: str) -> bytes:
    """The block that a file begins with."""
    fixed = _SECTION.pack(MAGIC, 1, 0, UNKNOWN_LENGTH)
    return _block(SECTION_HEADER, fixed, (USER_APPLICATION, application.encode()))


def interface(name: str, link: int) -> bytes:
    """The block of one interface, of which the first in the file is number 0; `link` is a LINKTYPE_."""
    return _block(INTERFACE, _INTERFACE.pack(link, 0, 0), (IF_NAME, name.encode()), (IF_TSRESOL, NANOSECONDS))


def packet(
    interface: int, time: int, data: bytes, length: int, *, outgoing: bool, comment: str | None = None
) -> bytes:
    """The block of one packet at `time` (nanoseconds since 1970); `length` is what it had in all."""
    fixed = _PACKET.pack(interface, time >> 32, time & 0xFFFFFFFF, len(data), length) + _padded(data)
    flags = _LENGTH.pack(OUTBOUND if outgoing else INBOUND)
    comments = [(COMMENT, comment.encode())] if comment is not None else []
    return _block(PACKET, fixed, (EPB_FLAGS, flags), *comments)


def statistics(interface: int, time: int, received: int, dropped: int) -> bytes:
    """The block that says, at the end, how many packets an interface gave, and how many were missed."""
    counts = ((ISB_RECEIVED, received), (ISB_DROPPED, dropped))
    fixed = _STATISTICS.pack(interface, time >> 32, time & 0xFFFFFFFF)
    return _block(STATISTICS, fixed, *((code, struct.pack("<Q", count)) for code, count in counts))


def _block(kind: int, fixed: bytes, *options: tuple[int, bytes]) -> bytes:
    body = fixed + b"".join(_OPTION.pack(code, len(value)) + _padded(value) for code, value in options)
    body += _OPTION.pack(END, 0)
    length = _BLOCK.size + len(body) + _LENGTH.size
    return _BLOCK.pack(kind, length) + body + _LENGTH.pack(length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
