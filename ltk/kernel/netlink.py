"""Links, addresses and routes over one netlink socket per namespace: dumps and batched writes.

A batch of requests in one send costs a fifteenth of the same requests one by one, and a socket in
another namespace needs no process there (measured, see docs/architecture.md). What the messages hold is
the business of `ltk.kernel.messages`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ltk.errors import LtkError, MissingError
from ltk.kernel import netns
from ltk.kernel.attributes import as_text, each_attribute, number
from ltk.kernel.messages import (
    ADDRESS,
    HEADER,
    LINK,
    ROUTE,
    Address,
    Link,
    Request,
    Route,
    read_address,
    read_link,
    read_route,
)

RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE = 18, 22, 26  # linux/rtnetlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3  # linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_DUMP_INTR = 0x10  # what was read was changed meanwhile, so that parts may be missing
NLM_F_CAPPED = 0x100  # the answer to a failed request repeats only its header
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_CAP_ACK = 270, 11, 10
NLMSGERR_ATTR_MSG = 1
IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS = 29, 0x8  # linux/if_link.h, linux/rtnetlink.h

RECEIVE_BYTES = 1 << 18  # the kernel fills at most 32 KiB of a dump at a time
DUMP_ATTEMPTS = 100  # of reading something that others are changing
BATCH = 64  # requests in one send; their answers fit the receive buffer many times over
ERROR_HEADER = struct.Struct("=iIHHII")  # errno, then the header of the request

writes = 0
"""Messages that change state, sent by this process: a second apply leaves this at 0."""


class NetlinkError(LtkError):
    """The kernel refused a request; `code` is its errno."""

    def __init__(self, doing: str, code: int, said: str) -> None:
        super().__init__(doing, said or os.strerror(code))
        self.code = code


@dataclass(slots=True)
class Netlink:
    """One netlink socket in one namespace (None: the machine's own)."""

    namespace: str | None
    _socket: socket.socket
    _sequence: int = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls, namespace: str | None = None, family: int = socket.NETLINK_ROUTE) -> Iterator[Netlink]:
        """A socket inside `namespace`; the calling thread stays where it is."""
        with contextlib.ExitStack() as stack:
            with netns.inside(namespace):
                netlink = stack.enter_context(cls.here(namespace, family))
            yield netlink

    @classmethod
    @contextlib.contextmanager
    def here(cls, namespace: str | None, family: int = socket.NETLINK_ROUTE) -> Iterator[Netlink]:
        """A socket where the calling thread is already, which is inside of `namespace`."""
        raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        try:
            raw.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            raw.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            raw.bind((0, 0))
            yield cls(namespace, raw)
        finally:
            raw.close()

    def links(self) -> list[Link]:
        """All devices of the namespace."""
        without_counters = number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)  # half of what it would be
        return [read_link(body) for body in self.dump(RTM_GETLINK, bytes(LINK.size) + without_counters)]

    def addresses(self) -> list[Address]:
        """All addresses of the namespace."""
        return [read_address(body) for body in self.dump(RTM_GETADDR, bytes(ADDRESS.size))]

    def routes(self, beside: int | None = None) -> list[Route]:
        """The routes of the main table and of the table `beside`, those that only refuse included."""
        found = (read_route(body, beside) for body in self.dump(RTM_GETROUTE, bytes(ROUTE.size)))
        return [route for route in found if route is not None]

    def routes_as_told(self) -> list[tuple[Route, bytes]]:
        """The routes of the main table, each with the message that tells of it."""
        bodies = self.dump(RTM_GETROUTE, bytes(ROUTE.size))
        return [(route, body) for body in bodies if (route := read_route(body)) is not None]

    def run(self, requests: Sequence[Request]) -> None:
        """Send `requests`, all of which change state, and wait for every answer.

        Raises NetlinkError for the first that the kernel refuses; those before it in order are done,
        those after it in the same batch may be.
        """
        global writes  # one number for the process is what the promise is about
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            first = self._sequence + 1
            data = bytearray()
            for request in batch:
                self._sequence += 1
                data += request.encode(self._sequence, NLM_F_REQUEST | NLM_F_ACK)
            writes += len(batch)
            self._socket.send(data)
            self._await_answers(first, batch)

    def _await_answers(self, first: int, batch: Sequence[Request]) -> None:
        failures: dict[int, NetlinkError] = {}
        missing = set(range(first, first + len(batch)))
        while missing:
            for kind, flags, sequence, body in _messages(self._receive()):
                if kind != NLMSG_ERROR or sequence not in missing:
                    continue
                missing.discard(sequence)
                request = batch[sequence - first]
                code = -ERROR_HEADER.unpack_from(body)[0]
                if code and code not in request.tolerated:
                    where = f" in {self.namespace}" if self.namespace else ""
                    failures[sequence] = NetlinkError(request.doing + where, code, _explanation(flags, body))
        if failures:
            error = failures[min(failures)]
            if error.code == errno.EPERM:
                raise MissingError(error.doing, error.problem, hint="Run it as root (CAP_NET_ADMIN).")
            raise error

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Everything that the kernel answers to one question: the messages without their headers.

        `body` is the question's own header; with zeros alone it asks for everything.
        Raises NetlinkError where the kernel refuses, LtkError where it never answers consistently.
        """
        for _ in range(DUMP_ATTEMPTS):
            self._sequence += 1
            flags = NLM_F_REQUEST | NLM_F_DUMP
            self._socket.send(HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
            if (found := self._await_end()) is not None:
                return found
        raise LtkError(f"reading {self.namespace or 'this machine'}", "it changes faster than it can be read")

    def _await_end(self) -> list[bytes] | None:
        """The messages of one dump; None where something was changed between its parts."""
        found: list[bytes] = []
        whole = True
        while True:
            for answer, flags, sequence, body in _messages(self._receive()):
                if sequence != self._sequence:
                    continue
                whole = whole and not flags & NLM_F_DUMP_INTR
                if answer == NLMSG_DONE:
                    return found if whole else None
                if answer == NLMSG_ERROR:
                    code = -ERROR_HEADER.unpack_from(body)[0]
                    raise NetlinkError(
                        f"reading {self.namespace or 'this machine'}", code, _explanation(flags, body)
                    )
                found.append(body)

    def _receive(self) -> bytes:
        return self._socket.recv(RECEIVE_BYTES)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of each message in one datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _port = HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _explanation(flags: int, body: bytes) -> str:
    """The kernel's own words behind an error, where it has any (extended acknowledgement)."""
    offset = ERROR_HEADER.size
    if not flags & NLM_F_CAPPED:
        offset = 4 + struct.unpack_from("=I", body, 4)[0]
    for kind, value in each_attribute(body, offset):
        if kind == NLMSGERR_ATTR_MSG:
            return as_text(value)
    return ""
