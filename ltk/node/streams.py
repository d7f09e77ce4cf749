"""The node's TCP streams: connects, accepts, reads and writes without ever waiting.

Which streams there are is the engine's decision (see protocol/streams), and who is at the other end the
cryptography's. What is read from one stream in a turn is bounded, so that nobody keeps the loop to himself,
and so is what waits for one that takes nothing: later datagrams are dropped whole, as a UDP socket does.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial

from ltk.errors import LtkError, MissingError
from ltk.node.binding import bound
from ltk.node.framing import BadFrameError, Reader, Writer
from ltk.node.poller import BROKEN, IN, OUT, Poller
from ltk.node.udp import MAPPED, SocketAddress
from ltk.protocol.engine import Engine
from ltk.protocol.messages import Buffer, Endpoint

ACCEPTS = 16  # in one turn
READ_SIZE = 65536  # bytes of one stream in one turn: about as many as of a socket
WAITING_LIMIT = 262144  # bytes of one stream: four bursts
UNSENT_LIMIT = 131072  # bytes; what the kernel has to hold besides what is under way
GONE_AFTER = 30_000  # milliseconds without an acknowledgement of what was sent, or of a probe of silence
PROBE_AFTER = 30  # seconds of silence
ACCEPT_AGAIN = 1.0  # seconds, where the process may have no more descriptors

SEND_FULL = "tcp-send-full"  # the stream takes less than is sent
NO_STREAM = "tcp-no-stream"  # for a stream that has ended, or is not open yet
BAD_FRAME = "tcp-bad-frame"  # a stream was closed on which something else than datagrams came
REFUSED = "tcp-refused"  # a stream was not let in, since there are enough

Take = Callable[[memoryview, int, Endpoint], None]


class Stream:
    """One stream: its socket, where it leads, and what waits in either direction."""

    __slots__ = ("endpoint", "is_open", "reader", "socket", "writer")

    def __init__(self, made: socket.socket, endpoint: Endpoint, *, is_open: bool) -> None:
        self.socket = made
        self.endpoint = endpoint
        self.is_open = is_open
        self.reader = Reader()
        self.writer = Writer(WAITING_LIMIT)

    def fileno(self) -> int:
        """The descriptor to wait at."""
        return self.socket.fileno()


class Streams:
    """All streams of a node, by the engine's numbers for them.

    `take(datagrams, size, source)` is given what arrives, as `Engine.handle_burst` wants it, and `drain()`
    is called after anything that was told to the engine.
    """

    def __init__(
        self,
        poller: Poller,
        engine: Engine,
        drops: Counter[str],
        *,
        take: Take,
        drain: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._poller = poller
        self._engine = engine
        self._drops = drops
        self._take = take
        self._drain = drain
        self._clock = clock
        self._streams: dict[int, Stream] = {}
        self._listener: socket.socket | None = None
        self._mark = 0

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def port(self) -> int | None:
        """The TCP port at which streams are accepted; None for none."""
        return None if self._listener is None else int(self._listener.getsockname()[1])

    # Where others connect.

    def listen_at(self, listener: socket.socket | None) -> None:
        """Accept streams there from now on, and no more where it was before; None: nowhere."""
        if self._listener is not None:
            self._poller.forget(self._listener.fileno())
            self._listener.close()
        self._listener = listener
        if listener is not None:
            self._poller.watch(listener.fileno(), IN, self._accept)

    def _accept(self, _mask: int) -> None:
        for _ in range(ACCEPTS):
            if self._listener is None:
                return
            try:
                made, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._pause_accepting(self._listener)
                    return
                continue  # it ended before it was accepted: accept(2) says so of any error of the network
            self._let_in(made, Endpoint(_host(address), address[1]))

    def _pause_accepting(self, listener: socket.socket) -> None:
        """Leave alone for a moment who waits, since level-triggered readiness would never end."""
        self._drops[REFUSED] += 1
        self._poller.change(listener.fileno(), 0)

        def resume() -> None:
            if self._listener is listener:
                self._poller.change(listener.fileno(), IN)

        self._poller.later(ACCEPT_AGAIN, resume)

    def _let_in(self, made: socket.socket, source: Endpoint) -> None:
        number = self._engine.stream_accepted(source, self._clock())
        if number is None:
            self._drops[REFUSED] += 1
            made.close()
        else:
            made.setblocking(False)
            _prepare(made)
            self._add(Stream(made, source._replace(socket=number), is_open=True))
        self._drain()

    # Where this node connects.

    def connect(self, to: Endpoint) -> None:
        """Begin to open a stream; the engine is told when it is open, and when it could not be."""
        family = socket.AF_INET6 if ":" in to.address else socket.AF_INET
        failed = errno.EMFILE
        with contextlib.suppress(OSError):
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            stream = Stream(made, to, is_open=False)
            if self._mark:  # which takes a privilege even to say that there is none
                made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            failed = made.connect_ex((to.address, to.port))
        if failed in (0, errno.EINPROGRESS):
            _prepare(made)
            self._add(stream)
        else:  # no more descriptors, no route, refused at once; the engine is told once it has been polled
            self._poller.later(0.0, partial(self._end, to.socket))

    def _connected(self, stream: Stream) -> None:
        if stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._end(stream.endpoint.socket)
            return
        stream.is_open = True
        self._want(stream)
        self._engine.stream_opened(stream.endpoint.socket, self._clock())
        self._drain()

    # All streams.

    def use_mark(self, mark: int) -> None:
        """Have what is sent from now on bear this firewall mark, over streams yet to come as well."""
        if mark != self._mark:
            for stream in self._streams.values():
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        self._mark = mark

    def send(self, datagrams: Buffer, size: int, to: Endpoint) -> None:
        """Send datagrams that lie back to back, each of `size` bytes but the last, or drop and count them."""
        stream = self._streams.get(to.socket)
        if stream is None or not stream.is_open:
            self._drops[NO_STREAM] += -(-len(datagrams) // size)
            return
        was_empty = not stream.writer.waiting
        refused = stream.writer.put(datagrams, size)
        if refused:
            self._drops[SEND_FULL] += refused
        if was_empty:
            self._write(stream)
            if stream.writer.waiting:
                self._want(stream)

    def close(self, number: int) -> None:
        """Close a stream, as the engine wishes; what was given to the kernel still leaves."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._poller.forget(stream.fileno())
            stream.socket.close()

    def close_all(self) -> None:
        """Close all streams, and accept none."""
        self.listen_at(None)
        for number in list(self._streams):
            self.close(number)

    def _add(self, stream: Stream) -> None:
        self._streams[stream.endpoint.socket] = stream
        self._poller.watch(stream.fileno(), IN if stream.is_open else OUT, partial(self._ready, stream))

    def _want(self, stream: Stream) -> None:
        self._poller.change(stream.fileno(), IN | OUT if stream.writer.waiting else IN)

    def _ready(self, stream: Stream, mask: int) -> None:
        if not stream.is_open:
            self._connected(stream)
            return
        if mask & OUT:
            self._write(stream)
            if not stream.writer.waiting:
                self._want(stream)
        if mask & (IN | BROKEN):
            self._read(stream)

    def _write(self, stream: Stream) -> None:
        """Send what the kernel takes; what it does not take waits for it. An error is found by the reader."""
        with contextlib.suppress(OSError):
            stream.writer.sent(stream.socket.send(stream.writer.waiting))

    def _read(self, stream: Stream) -> None:
        number = stream.endpoint.socket
        try:
            data = stream.socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(number)
            return
        try:
            for datagrams, size in stream.reader.feed(data):
                self._take(datagrams, size, stream.endpoint)
        except BadFrameError:
            self._drops[BAD_FRAME] += 1
            self._end(number)
        self._drain()

    def _end(self, number: int) -> None:
        """Close a stream that has ended, and tell the engine."""
        self.close(number)
        self._engine.stream_ended(number, self._clock())
        self._drain()


def _host(address: SocketAddress) -> str:
    """As elsewhere: IPv4 in dotted form, and a link-local address with its link."""
    host = address[0].removeprefix(MAPPED)
    return f"{host}%{address[3]}" if len(address) == 4 and address[3] else host


def open_listener(port: int) -> socket.socket:
    """Listen at TCP `port` on all addresses, of both families where there are both.

    Raises LtkError where the port is taken.
    """
    doing = f"listening on TCP port {port}"
    try:
        return bound(socket.SOCK_STREAM, port, _prepare_listener)
    except OSError as error:
        hint = "`transport: udp` at the server does without TCP."
        match error.errno:
            case errno.EADDRINUSE:
                who = f"`ss -tlpn sport = {port}` tells by whom; {hint}"
                raise LtkError(doing, "it is in use", hint=who) from None
            case errno.EACCES | errno.EPERM:
                raise MissingError(doing, "permission denied", hint="Ports below 1024 are root's.") from None
            case _:
                raise LtkError(doing, error.strerror or str(error), hint=hint) from None


def _prepare_listener(made: socket.socket) -> None:
    # After a restart the port's old connections may still be remembered by the kernel.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _prepare(made: socket.socket) -> None:
    """Send at once and hold little back; find out within GONE_AFTER that nobody is there."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_AFTER // 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
