"""Links, addresses and routes over one netlink socket per namespace: dumps and batched writes.

pyroute2 knows the layout of the messages; the conversation is ours, because a batch of requests in
one send costs a fifteenth of the same requests one by one, and because a socket in another
namespace needs no process there (measured, see docs/architecture.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import Any, TypeAlias

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ltk.errors import LtkError, MissingError
from ltk.kernel import netns
from ltk.kernel.messages import (
    IFF_UP,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    Address,
    Interface,
    Link,
    Message,
    Network,
    Request,
    Route,
)

RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE = 18, 22, 26  # linux/rtnetlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3  # linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CAPPED = 0x100  # the answer to a failed request repeats only its header
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK = 270, 11, 10, 12
NLMSGERR_ATTR_MSG = 1
ARPHRD_ETHER = 1  # linux/if_arp.h

RECEIVE_BYTES = 1 << 18  # the kernel fills at most 32 KiB of a dump at a time
BATCH = 64  # requests in one send; their answers fit the receive buffer many times over
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ERROR_HEADER = struct.Struct("=iIHHII")  # errno, then the header of the request

writes = 0
"""Messages that change state, sent by this process: a second apply leaves this at 0."""

AnyMessage: TypeAlias = ifinfmsg | ifaddrmsg | rtmsg


class NetlinkError(LtkError):
    """The kernel refused a request; `code` is its errno."""

    def __init__(self, doing: str, code: int, said: str) -> None:
        super().__init__(doing, said or os.strerror(code))
        self.code = code


@dataclass(slots=True)
class Netlink:
    """One route-netlink socket in one namespace (None: the machine's own)."""

    namespace: str | None
    _socket: socket.socket
    _sequence: int = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls, namespace: str | None = None) -> Iterator[Netlink]:
        """A socket inside `namespace`; the calling thread stays where it is."""
        with netns.inside(namespace):
            raw = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
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
        return [_link(message) for message in self._dump(RTM_GETLINK, ifinfmsg)]

    def addresses(self) -> list[Address]:
        """All addresses of the namespace."""
        return [_address(message) for message in self._dump(RTM_GETADDR, ifaddrmsg)]

    def routes(self) -> list[Route]:
        """The unicast routes of the main table."""
        return [
            _route(message)
            for message in self._dump(RTM_GETROUTE, rtmsg)
            if message["table"] == RT_TABLE_MAIN and message["type"] == RTN_UNICAST
        ]

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

    def _dump(self, kind: int, message_class: type[Any]) -> list[AnyMessage]:
        self._sequence += 1
        family_header = bytes(16)  # an all-zero ifinfomsg, ifaddrmsg or rtmsg asks for everything
        length = HEADER.size + len(family_header)
        self._socket.send(
            HEADER.pack(length, kind, NLM_F_REQUEST | NLM_F_DUMP, self._sequence, 0) + family_header
        )
        found: list[AnyMessage] = []
        while True:
            data = self._receive()
            for answer, flags, sequence, body in _messages(data):
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    code = -ERROR_HEADER.unpack_from(body)[0]
                    raise NetlinkError(
                        f"reading {self.namespace or 'this machine'}", code, _explanation(flags, body)
                    )
                message = message_class(
                    HEADER.pack(HEADER.size + len(body), answer, flags, sequence, 0) + body
                )
                message.decode()
                found.append(message)

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
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if kind == NLMSGERR_ATTR_MSG:
            return body[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += (max(length, 4) + 3) & ~3
    return ""


def _link(message: Message) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    properties = message.get_attr("IFLA_PROP_LIST")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or ""
    if kind == "tun" and message["ifi_type"] == ARPHRD_ETHER:
        kind = "tap"  # the kernel has one kind for both
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & IFF_UP),
        group=message.get_attr("IFLA_GROUP") or 0,
        master=message.get_attr("IFLA_MASTER"),
        altnames=tuple(properties.get_attrs("IFLA_ALT_IFNAME")) if properties else (),
    )


def _address(message: Message) -> Address:
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    interface: Interface = ip_interface(f"{text}/{message['prefixlen']}")
    return Address(message["index"], interface, message.get_attr("IFA_PROTO") or 0)


def _route(message: Message) -> Route:
    default = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    destination: Network = ip_network(f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}")
    return Route(
        destination=destination,
        gateway=message.get_attr("RTA_GATEWAY"),
        index=message.get_attr("RTA_OIF") or 0,
        metric=message.get_attr("RTA_PRIORITY") or 0,
        protocol=message["proto"],
    )
