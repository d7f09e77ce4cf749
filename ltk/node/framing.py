"""Datagrams on a stream: each behind its length, two bytes, the more significant one first (as in RFC 4571).

Pure: bytes in, datagrams out, and the reverse.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ltk.protocol.messages import Buffer
from ltk.protocol.segments import MAX_BYTES, MAX_DATAGRAMS

LENGTH = struct.Struct(">H")
MAX_DATAGRAM = 65507  # bytes; what UDP over IPv4 could carry


class BadFrameError(Exception):
    """What has arrived is no such stream: a length of 0, or more than any datagram has."""


class Reader:
    """Finds the datagrams in what arrives, in whatever pieces. It holds less than one datagram, besides."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: Buffer) -> Iterator[tuple[memoryview, int]]:
        """Yield what is whole now: datagrams back to back, each of `size` bytes, but the last may be shorter.

        Views are valid until the next one is asked for. Raises BadFrameError where the stream is none of
        datagrams; what came before that has been yielded.
        """
        self._rest += data
        arrived = bytes(self._rest)
        begin = 0
        try:
            while (run := _run(arrived, begin)) is not None:
                joined, size, begin = run
                yield memoryview(joined), size
        finally:
            del self._rest[:begin]


def _run(arrived: bytes, begin: int) -> tuple[bytearray, int, int] | None:
    """Join whole datagrams of one size from `begin` on, up to one that is shorter; where the rest begins.

    No more than the kernel joins of a UDP socket's, which is what the engine has room for.

    None where the first is not whole yet; raises BadFrameError where it is none.
    """
    size = _length(arrived, begin)
    if size is not None and not 0 < size <= MAX_DATAGRAM:
        raise BadFrameError
    if size is None or begin + LENGTH.size + size > len(arrived):
        return None
    parts: list[bytes] = []
    most = min(MAX_DATAGRAMS, max(1, MAX_BYTES // size))
    while len(parts) < most and (length := _length(arrived, begin)) and length <= size:
        if begin + LENGTH.size + length > len(arrived):
            break
        begin += LENGTH.size + length
        parts.append(arrived[begin - length : begin])
        if length < size:
            break
    return bytearray().join(parts), size, begin


def _length(arrived: bytes, begin: int) -> int | None:
    """The length that stands at `begin`; None where it has not arrived."""
    if begin + LENGTH.size > len(arrived):
        return None
    return int(LENGTH.unpack_from(arrived, begin)[0])


class Writer:
    """What waits to be sent on one stream: whole datagrams, of which the first may be partly sent already.

    `limit` is how many bytes may wait. What finds no room is refused whole.
    """

    __slots__ = ("_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting = bytearray()

    @property
    def waiting(self) -> bytearray:
        """What is to be sent next; not to be changed but by `sent`."""
        return self._waiting

    def put(self, datagrams: Buffer, size: int) -> int:
        """Let datagrams wait that lie back to back, each of `size` bytes but the last.

        Return how many were refused. One always finds room where nothing waits.
        """
        view = memoryview(datagrams)
        refused = 0
        for begin in range(0, len(view), size):
            datagram = view[begin : begin + size]
            is_full = len(self._waiting) + LENGTH.size + len(datagram) > self._limit
            if len(datagram) > MAX_DATAGRAM or (is_full and self._waiting):
                refused += 1
                continue
            self._waiting += LENGTH.pack(len(datagram))
            self._waiting += datagram
        return refused

    def sent(self, count: int) -> None:
        """Note that the first `count` bytes have left; the rest of a datagram has to follow them."""
        del self._waiting[:count]
