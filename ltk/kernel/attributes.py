"""Netlink's attributes: type-length-value triples, padded to four bytes, nested to any depth (netlink(7)).

Written and read here and not by a library, because a lab of a hundred sites has thousands of messages
in every look at it: what is needed of each is a few bytes at known places, and a general decoder costs
twenty times as much (and a third of a second to import).
"""

from __future__ import annotations

import struct
import sys

NLA_F_NESTED = 0x8000  # linux/netlink.h
NLA_TYPE_MASK = 0x3FFF

ATTRIBUTE = struct.Struct("=HH")  # length with this header and without padding, type
U32 = struct.Struct("=I")
BIG_U32 = struct.Struct(">I")  # nftables has its numbers in network order


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded so that another can follow."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute that holds a number of 32 bits in the machine's order."""
    return attribute(kind, U32.pack(value))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a text, ended by a zero byte."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def each_attribute(data: bytes, offset: int = 0) -> list[tuple[int, bytes]]:
    """(type, value) of the attributes that stand in `data` from `offset` on, as the kernel wrote them.

    A link has fifty of them, of which seven are looked at: a lab of a hundred sites has fifty thousand, so
    this loop is most of what a look at it costs, and has nothing in it that it can do without.
    """
    found = []
    unpack, end = ATTRIBUTE.unpack_from, len(data)
    while offset + 4 <= end:
        length, kind = unpack(data, offset)
        found.append((kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]))
        offset += (length + 3) & ~3 or 4  # a length of zero is nothing that the kernel writes
    return found


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes by their type; of several of one type, the last."""
    return dict(each_attribute(data, offset))


def as_number(value: bytes | None) -> int:
    """The number in an attribute's value; 0 where there is none, which is what the kernel leaves out."""
    return int.from_bytes(value, sys.byteorder) if value else 0


def as_text(value: bytes) -> str:
    """The text in an attribute's value."""
    return value.rstrip(b"\0").decode(errors="replace")
