"""That something has changed in a namespace, as the kernel tells it: one netlink socket for the links,
addresses, routes and policy rules of all namespaces that are heard, and one for their rule sets.

A socket hears the namespaces that have a number in its own one (netlink(7), NETLINK_LISTEN_ALL_NSID).
Numbers are given in a namespace made for that, so that none of anybody's changes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ltk.kernel import netns
from ltk.kernel.attributes import number
from ltk.kernel.messages import Request
from ltk.kernel.netlink import SOL_NETLINK, Netlink, NetlinkError
from ltk.kernel.nftables import NETLINK_NETFILTER

NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID = 1, 8  # linux/netlink.h
# RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, _IPV6_RULE and _NSID of
# linux/rtnetlink.h
ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 28)
NFTABLES_GROUPS = (7,)  # NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h
RTM_NEWNSID = 88
NETNSA_NSID, NETNSA_FD = 1, 3  # linux/net_namespace.h
RTGENMSG = bytes(4)  # struct rtgenmsg with its padding: the family, which says nothing here

OWN = Path("/proc/self/ns/net")
QUEUE = 1 << 21  # bytes that may wait for us; beyond them the kernel drops, and says so
MESSAGE = 1 << 16  # bytes that are read of one message; what it says is of no interest
AT_ONCE = 512  # messages of one call, so that a flood leaves time for everything else
SPACE = socket.CMSG_SPACE(4)
NSID = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Heard:
    """Where something has changed; with `missed` that may be anywhere."""

    scopes: frozenset[str]
    missed: bool = False


class Events:
    """Hears the namespaces that it is told to follow, until it is closed."""

    def __init__(self, queue: int = QUEUE) -> None:
        """Raises LtkError where the kernel does not let us hear other namespaces."""
        self._stack = contextlib.ExitStack()
        self._inodes: dict[str, int] = {}  # of the namespaces that are heard, by their names
        self._scopes: dict[int, str] = {}  # by number
        with netns.throwaway():
            self._requests = self._stack.enter_context(Netlink.open())
            self._sockets = tuple(
                self._listen(family, groups, queue)
                for family, groups in (
                    (socket.NETLINK_ROUTE, ROUTE_GROUPS),
                    (NETLINK_NETFILTER, NFTABLES_GROUPS),
                )
            )

    def _listen(self, family: int, groups: Iterable[int], queue: int) -> socket.socket:
        raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._stack.callback(raw.close)
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, queue)
        raw.bind((0, 0))
        for group in groups:
            raw.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        raw.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        return raw

    def descriptors(self) -> tuple[int, ...]:
        """What is readable when there is something to `read`."""
        return tuple(each.fileno() for each in self._sockets)

    def follow(self, scopes: Iterable[str]) -> None:
        """Hear these named namespaces from now on; of one made anew under its name, the new one.

        The empty name is this process's own. One that does not exist is left out: say so again when it does.
        """
        for scope in scopes:
            path = netns.path(scope) if scope else OWN
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._inodes.pop(scope, None)
                continue
            try:
                inode = os.fstat(descriptor).st_ino
                if self._inodes.get(scope) != inode and self._give_number(scope, descriptor):
                    self._inodes[scope] = inode
            finally:
                os.close(descriptor)

    def _give_number(self, scope: str, descriptor: int) -> bool:
        chosen = max(self._scopes, default=0) + 1
        body = RTGENMSG + number(NETNSA_NSID, chosen) + number(NETNSA_FD, descriptor)
        # one that has a number already is heard under another name
        request = Request(f"hearing the namespace {scope}", body, RTM_NEWNSID, tolerated=(errno.EEXIST,))
        try:
            self._requests.run([request])
        except NetlinkError as error:
            if error.code in (errno.EINVAL, errno.EBADF):  # a file that is no namespace, not yet or no more
                return False
            raise
        self._scopes[chosen] = scope
        return True

    def read(self) -> Heard:
        """Take what has been told since the last time, without waiting."""
        scopes: set[str] = set()
        missed = False
        for each in self._sockets:
            for _ in range(AT_ONCE):
                try:
                    _, ancillary, _, _ = each.recvmsg(MESSAGE, SPACE)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    missed = self._overflowed()
                    continue
                scopes |= self._named(ancillary)
        return Heard(frozenset(scopes), missed)

    def _overflowed(self) -> bool:
        """The kernel had to drop: whether anything may have been among it."""
        return True

    def _named(self, ancillary: Iterable[tuple[int, int, bytes]]) -> set[str]:
        numbers = (
            NSID.unpack(value)[0]
            for level, kind, value in ancillary
            if (level, kind) == (SOL_NETLINK, NETLINK_LISTEN_ALL_NSID)
        )
        return {self._scopes[each] for each in numbers if each in self._scopes}

    def close(self) -> None:
        """Hear nothing more."""
        self._stack.close()
