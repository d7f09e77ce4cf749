"""Sockets that take what comes to a port, for both address families where the machine has both."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

ANY_HOST = "::"  # all addresses of both families
BACKLOG = 128  # connections that wait to be accepted; net.core.somaxconn may allow fewer


def bound(
    kind: socket.SocketKind, port: int, prepare: Callable[[socket.socket], None], host: str = ANY_HOST
) -> socket.socket:
    """A socket of this kind that never waits, bound to `port` of `host` after `prepare` has seen it.

    One for streams listens. On a machine without IPv6 it is for IPv4 alone. Raises OSError, as the kernel
    says it.
    """
    if host != ANY_HOST:
        return _bound(socket.AF_INET6 if ":" in host else socket.AF_INET, kind, (host, port), prepare)
    try:
        return _bound(socket.AF_INET6, kind, (host, port), prepare)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bound(socket.AF_INET, kind, ("0.0.0.0", port), prepare)


def _bound(
    family: socket.AddressFamily,
    kind: socket.SocketKind,
    address: tuple[str, int],
    prepare: Callable[[socket.socket], None],
) -> socket.socket:
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        prepare(made)
        made.bind(address)
        if kind is socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
