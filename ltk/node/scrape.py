"""One page over HTTP, for a scraper: GET /metrics, and nothing else (RFC 9112).

The server lives in its owner's poller and never blocks it. A client gets one answer and the end of its
connection; what it may cost is bounded: clients, bytes and seconds. Nothing that a client sends changes
anything.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address

from ltk.errors import LtkError, MissingError
from ltk.node.poller import BROKEN, IN, OUT, Poller

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format
CLIENT_LIMIT = 16  # at a time; for one more, the one that has been there longest makes room
REQUEST_LIMIT = 8192  # bytes of a request's head; what Prometheus sends has some 300
PATIENCE = 5.0  # seconds from a client's coming to its end; Prometheus' own limit is 10
CHUNK = 1 << 16  # bytes read or written at a time

_END_OF_HEAD = (b"\r\n\r\n", b"\n\n")  # the second by the leniency of RFC 9112, section 2.2


class PageServer:
    """Serves what `page()` gives, anew for each request, at `address` and `port`.

    A page whose making raises LtkError is a 503 with the error's words.
    """

    def __init__(self, address: str, port: int, poller: Poller, page: Callable[[], str]) -> None:
        """Raises LtkError when the port is taken, or the address is none of this machine's."""
        self._poller = poller
        self._page = page
        self._clients: dict[_Client, None] = {}  # in the order of their coming
        self._listener = _listen(address, port)
        poller.watch(self._listener.fileno(), IN, self._accept)

    def close(self) -> None:
        """Listen no more, and send all clients away."""
        self._poller.forget(self._listener.fileno())
        self._listener.close()
        for client in tuple(self._clients):
            client.close()

    def _accept(self, _mask: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone again, or there are no descriptors left for it
            return
        if len(self._clients) >= CLIENT_LIMIT:
            next(iter(self._clients)).close()
        connection.setblocking(False)
        self._clients[_Client(connection, self._poller, self._answer, self._forget)] = None

    def _forget(self, client: _Client) -> None:
        self._clients.pop(client, None)

    def _answer(self, head: bytes) -> bytes:
        """The whole answer to a request of which this is the head."""
        words = head.partition(b"\n")[0].removesuffix(b"\r").split(b" ")
        match words:
            case [method, target, b"HTTP/1.1" | b"HTTP/1.0"] if method and target.startswith(b"/"):
                pass
            case _:
                return _refusal(HTTPStatus.BAD_REQUEST)
        if target.partition(b"?")[0] != PATH.encode():
            return _refusal(HTTPStatus.NOT_FOUND)
        if method != b"GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET\r\n")
        try:
            return _response(HTTPStatus.OK, CONTENT_TYPE, self._page())
        except LtkError as error:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", f"{error}\n")


class _Client:
    """One connection: a request is read, its answer written, and then its end awaited.

    Whatever else the client sends is thrown away: if it were left unread, closing would reset the
    connection, and the reset could overtake the answer.
    """

    def __init__(
        self,
        connection: socket.socket,
        poller: Poller,
        answer: Callable[[bytes], bytes],
        closed: Callable[[_Client], None],
    ) -> None:
        self._connection = connection
        self._poller = poller
        self._answer = answer
        self._closed = closed
        self._input = bytearray()
        self._output = memoryview(b"")
        self._answered = False
        self._deadline = poller.later(PATIENCE, self.close)
        poller.watch(connection.fileno(), IN, self._ready)

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            self._deadline.cancel()
            self._poller.forget(self._connection.fileno())
            self._connection.close()
            self._closed(self)

    def _ready(self, mask: int) -> None:
        try:
            if mask & OUT:
                self._write()
            elif mask & IN:
                self._read()
            elif mask & BROKEN:
                self.close()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._connection.recv(CHUNK)
        if not data:
            self.close()
        elif not self._answered:
            self._input += data
            ends = [end for mark in _END_OF_HEAD if (end := self._input.find(mark)) >= 0]
            if ends and min(ends) <= REQUEST_LIMIT:
                self._give(self._answer(bytes(self._input[: min(ends)])))
            elif len(self._input) > REQUEST_LIMIT:
                self._give(_refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    def _give(self, answer: bytes) -> None:
        self._answered = True
        self._input.clear()
        self._output = memoryview(answer)
        self._poller.change(self._connection.fileno(), OUT)

    def _write(self) -> None:
        self._output = self._output[self._connection.send(self._output[:CHUNK]) :]
        if not self._output:
            self._connection.shutdown(socket.SHUT_WR)
            self._poller.change(self._connection.fileno(), IN)


def _refusal(status: HTTPStatus, headers: str = "") -> bytes:
    body = f"{status.value} {status.phrase}: there is GET {PATH}\n"
    return _response(status, "text/plain; charset=utf-8", body, headers)


def _response(status: HTTPStatus, content_type: str, body: str, headers: str = "") -> bytes:
    content = body.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\n{headers}Connection: close\r\n\r\n"
    )
    return head.encode() + content


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(listener.close)
        listener.setblocking(False)
        # What an earlier connection leaves behind (TIME-WAIT) must not keep a daemon from starting.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind((address, port))
            listener.listen(CLIENT_LIMIT)
        except OSError as error:
            raise _why(error, f"serving metrics at {address}, TCP port {port}", port) from None
        undo.pop_all()
    return listener


def _why(error: OSError, doing: str, port: int) -> LtkError:
    match error.errno:
        case errno.EADDRINUSE:
            return LtkError(doing, "it is in use", hint=f"`ss -tlpn sport = {port}` tells by whom.")
        case errno.EADDRNOTAVAIL:
            return LtkError(doing, "the address is none of this machine's", hint="`ip address` lists them.")
        case errno.EACCES | errno.EPERM:
            return MissingError(doing, "permission denied", hint="Ports below 1024 are root's.")
        case _:
            return LtkError(doing, error.strerror or str(error))
