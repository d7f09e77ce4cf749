"""The node's UDP sockets, each for both address families where the machine has both.

IPv4 endpoints are in dotted form outside of this module: the kernel's v4-mapped IPv6 addresses
(RFC 4291, section 2.5.5.2) never leave it. Whatever the network answers is counted, never raised.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections import Counter

from ltk.errors import LtkError, MissingError
from ltk.kernel import offloads as kernel
from ltk.node.binding import ANY_HOST, bound
from ltk.protocol.messages import MAIN_SOCKET, Buffer, Endpoint

# Bytes each way. It is for what comes while the node does not run, since the inbox empties it in each turn:
# 40 ms at 800 Mbit/s. Where more comes than can be taken, it is the inbox's bound that decides.
BUFFER = 4 << 20
CACHE_LIMIT = 4096  # endpoints remembered each way; a flood from more sources empties the cache, no more

_SEGMENT = 103
UDP_GRO = 104
_SIZE = struct.Struct("=H")  # of UDP_SEGMENT
_GRO = struct.Struct("=i")
_HOPS = struct.Struct("=i")  # ip(7), ipv6(7)
_GRO_SPACE = socket.CMSG_SPACE(_GRO.size)

# linux/in.h and in6.h, absent from Python's socket module
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0
IPV6_MTU_DISCOVER = 23
IPV6_PMTUDISC_DONT = 0
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")  # linux/sock_diag.h; SK_MEMINFO_DROPS is the last

SEND_FULL = "udp-send-full"  # the socket's buffer had no room
SEND_FAILED = "udp-send-failed"  # no route, refused by a firewall, too large
RECEIVE_FULL = "udp-receive-full"  # the kernel had no room for it in the socket's buffer
RECEIVE_FAILED = "udp-receive-failed"  # an earlier datagram's ICMP answer

MAPPED = "::ffff:"

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_RECEIVE_ERRORS = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EMSGSIZE,
    errno.EPERM,
    errno.EACCES,
    errno.EPROTO,
}


_NOT_CUT = {errno.EINVAL, errno.EMSGSIZE, errno.EIO}  # a datagram larger than the path's MTU; udp(7)
_NO_LIMIT = 1 << 16


class Udp:
    """An open socket. `drops` counts, by reason, what was not sent or not received.

    `number` is the engine's for it: the `socket` of the endpoints from which it receives.

    `joins` says that the kernel hands over datagrams of one sender together (UDP_GRO), `cuts` that it takes
    many at once (UDP_SEGMENT).
    """

    __slots__ = (
        "_endpoints",
        "_mapped",
        "_socket",
        "_targets",
        "_too_long",
        "cuts",
        "drops",
        "joins",
        "number",
    )

    def __init__(
        self,
        bound: socket.socket,
        drops: Counter[str],
        *,
        cuts: bool = False,
        joins: bool = False,
        number: int = MAIN_SOCKET,
    ) -> None:
        self.drops = drops
        self.number = number
        self.cuts = cuts
        self.joins = joins
        self._too_long: dict[Endpoint, int] = {}  # sizes that the kernel does not cut on the way there
        self._socket = bound
        self._mapped = bound.family == socket.AF_INET6
        self._endpoints: dict[object, Endpoint] = {}
        self._targets: dict[Endpoint, SocketAddress] = {}

    @classmethod
    def open(
        cls,
        port: int,
        drops: Counter[str],
        *,
        offloads: bool = False,
        number: int = MAIN_SOCKET,
        host: str = ANY_HOST,
    ) -> Udp:
        """Bind UDP `port` (0: one that is free) on all addresses, or on `host`, an address; raises LtkError.

        With `offloads`, datagrams are joined and cut by the kernel as far as it can.
        """
        doing = f"opening UDP port {port}"
        try:
            made = bound(socket.SOCK_DGRAM, port, _prepare, host)
        except OSError as error:
            match error.errno:
                case errno.EADDRINUSE:
                    raise LtkError(
                        doing, "it is in use", hint=f"`ss -ulpn sport = {port}` tells by whom."
                    ) from None
                case errno.EADDRNOTAVAIL:
                    raise LtkError(
                        doing,
                        f"this machine does not have the address {host}",
                        hint="`ip address` lists them.",
                    ) from None
                case errno.EACCES | errno.EPERM:
                    raise MissingError(
                        doing, "permission denied", hint="Ports below 1024 are root's."
                    ) from None
                case _:
                    raise LtkError(doing, error.strerror or str(error)) from None
        if not offloads:
            return cls(made, drops, number=number)
        return cls(
            made,
            drops,
            number=number,
            cuts=kernel.set_udp(made, kernel.UDP_SEGMENT, 0),
            joins=kernel.set_udp(made, kernel.UDP_GRO, 1),
        )

    def fileno(self) -> int:
        """The descriptor to wait at."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The UDP port that the socket is bound to."""
        return int(self._socket.getsockname()[1])

    @property
    def overflowed(self) -> int:
        """How many datagrams, or bursts of them, the kernel has had no room for; 0 where it does not say."""
        try:
            told = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return 0
        return int(_MEMINFO.unpack(told)[-1])

    def mark(self, mark: int) -> None:
        """Have all that is sent bear this firewall mark (socket(7)); 0 is none.

        Raises MissingError without CAP_NET_ADMIN, unless it is so already.
        """
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == mark:
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        except PermissionError as error:
            hint = "It needs CAP_NET_ADMIN: run it as root."
            raise MissingError("marking what the node sends", str(error.strerror), hint=hint) from None

    def receive(self, into: memoryview) -> tuple[int, int, Endpoint | None] | None:
        """Read datagrams of one sender into `into`: their length in all, the size of each, and the sender.

        The last one may be shorter than that size. None when there is none now. The endpoint is None
        where the network reported an error instead, which has been counted.
        """
        try:
            if self.joins:
                length, ancillary, _, address = self._socket.recvmsg_into((into,), _GRO_SPACE)
            else:
                length, address = self._socket.recvfrom_into(into)
                ancillary = []
        except BlockingIOError:
            self._nothing_now()
            return None
        except OSError as error:
            if error.errno not in _RECEIVE_ERRORS:
                raise
            self.drops[RECEIVE_FAILED] += 1
            return 0, 0, None
        size = _GRO.unpack(ancillary[0][2])[0] if ancillary else length
        return length, size, self._endpoints.get(address) or self._learn(address)

    def send(self, datagram: Buffer, to: Endpoint, hops: int = 0) -> bool:
        """Send one datagram, `hops` routers far at most (0: any); False when it was dropped and counted."""
        try:
            target = self._targets.get(to) or self._target(to)
            if hops:
                level, kind = (socket.IPPROTO_IP, socket.IP_TTL)
                if ":" in to.address:
                    level, kind = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
                self._socket.sendmsg((datagram,), ((level, kind, _HOPS.pack(hops)),), 0, target)
            else:
                self._socket.sendto(datagram, target)
        except BlockingIOError:
            self.drops[SEND_FULL] += 1
            return False
        except OSError:
            self.drops[SEND_FAILED] += 1
            return False
        return True

    def send_burst(self, datagrams: Buffer, size: int, to: Endpoint) -> bool:
        """Send datagrams that lie back to back, each of `size` bytes but the last; False if any was dropped.

        They leave in one call, where the kernel can cut them: it does not do so where they would have to
        be fragmented.
        """
        if self.cuts and size < self._too_long.get(to, _NO_LIMIT):
            target = self._targets.get(to) or self._target(to)
            try:
                self._socket.sendmsg(
                    (datagrams,), ((socket.IPPROTO_UDP, kernel.UDP_SEGMENT, _SIZE.pack(size)),), 0, target
                )
            except BlockingIOError:
                self.drops[SEND_FULL] += -(-len(datagrams) // size)
                return False
            except OSError as error:
                if error.errno not in _NOT_CUT:
                    self.drops[SEND_FAILED] += -(-len(datagrams) // size)
                    return False
                if len(self._too_long) >= CACHE_LIMIT:
                    self._too_long.clear()
                self._too_long[to] = size
            else:
                return True
        sent = [self.send(datagrams[at : at + size], to) for at in range(0, len(datagrams), size)]
        return all(sent)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def _nothing_now(self) -> None:
        """A read that would block is the normal end of reading."""

    def _learn(self, address: SocketAddress) -> Endpoint:
        if len(self._endpoints) >= CACHE_LIMIT:
            self._endpoints.clear()
        host = address[0]
        if host.startswith(MAPPED):
            host = host.removeprefix(MAPPED)
        elif len(address) == 4 and address[3]:
            host = f"{host}%{address[3]}"  # a link-local address means nothing without its link
        found = self._endpoints[address] = Endpoint(host, address[1], self.number)
        return found

    def _target(self, endpoint: Endpoint) -> SocketAddress:
        if len(self._targets) >= CACHE_LIMIT:
            self._targets.clear()
        host, _, scope = endpoint.address.partition("%")
        target: SocketAddress
        if not self._mapped:
            target = (host, endpoint.port)
        elif ":" in host:
            target = (host, endpoint.port, 0, _scope_id(scope))
        else:
            target = (MAPPED + host, endpoint.port, 0, 0)
        self._targets[endpoint] = target
        return target


def _prepare(made: socket.socket) -> None:
    # As the kernel's WireGuard, which sends with the don't-fragment bit clear: a datagram larger than the
    # path is fragmented rather than lost, and a forged "packet too big" cannot stop the tunnel.
    made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT)
    _enlarge(made, SO_RCVBUFFORCE, socket.SO_RCVBUF)
    _enlarge(made, SO_SNDBUFFORCE, socket.SO_SNDBUF)


def _enlarge(made: socket.socket, forced: int, ordinary: int) -> None:
    """Set a buffer to BUFFER; without CAP_NET_ADMIN to what net.core.*mem_max allows."""
    try:
        made.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
    except OSError:
        made.setsockopt(socket.SOL_SOCKET, ordinary, BUFFER)


def _scope_id(scope: str) -> int:
    """The number of a link that is given by number or name; 0 when there is none such."""
    if scope.isdigit():
        return int(scope)
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(scope) if scope else 0
    return 0
