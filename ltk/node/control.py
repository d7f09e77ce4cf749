"""Requests and answers on a Unix stream socket: one JSON object a line, each way.

A request has the member "do". An answer has "ok": with true, what was asked for; with false, "error"
(for a person), "hint" and "exit_status" (of the class in ltk.errors). One answer follows each request,
in order. The socket's file has mode 0600 from the moment it exists.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path

from ltk.errors import BusyError, InTheWayError, InvalidInputError, LtkError, MissingError
from ltk.node.poller import BROKEN, IN, OUT, Poller

LINE_LIMIT = 1 << 20  # bytes of one request or answer; a configuration of a thousand peers is a quarter of it
CONNECTION_LIMIT = 64  # clients at a time; one more is closed at once
PATH_LIMIT = 107  # bytes; sun_path of unix(7) less its final zero
CHUNK = 1 << 16  # bytes read or written at a time
BACKLOG = CONNECTION_LIMIT  # connections that wait to be accepted; one more is refused at once
ASKED_AT_ONCE = 32  # questions; fewer than BACKLOG, since they may all be for one process

_UCRED = struct.Struct("=iII")  # struct ucred: process, user, group

Request = Mapping[str, object]
Answer = Callable[[Mapping[str, object]], None]


class NobodyListensError(LtkError):
    """No process answers on the socket."""

    retry_can_help = True


def failure(error: LtkError) -> dict[str, object]:
    """The answer that stands for `error`."""
    return {"ok": False, "error": str(error), "hint": error.hint, "exit_status": error.exit_status}


class ControlServer:
    """Listens on `path` and gives each request to `handle(request, answer)`.

    `answer` is to be called once, at once or later; the next request of that client waits for it.
    An LtkError that `handle` raises becomes the answer. Who asks to do one of the `guarded` things and is
    another user is refused, whoever may open the socket's file.
    """

    def __init__(
        self,
        path: Path,
        poller: Poller,
        handle: Callable[[Request, Answer], None],
        *,
        guarded: Set[str] = frozenset(),
    ) -> None:
        """Raises BusyError when a living process listens there already; a dead one's file is replaced."""
        self.path = path
        self._poller = poller
        self._handle = handle
        self._guarded = guarded
        self._connections: set[_Connection] = set()
        self._listener = _listen(path)
        self._inode = path.stat().st_ino
        poller.watch(self._listener.fileno(), IN, self._accept)

    def close(self, *, remove: bool = True) -> None:
        """Close everything, and `remove` the socket's file where it is still this server's."""
        self._poller.forget(self._listener.fileno())
        self._listener.close()
        if remove:
            with contextlib.suppress(FileNotFoundError):
                if self.path.stat().st_ino == self._inode:
                    self.path.unlink()
        # Last, since a client may take the end of its connection for the end of the server.
        for connection in tuple(self._connections):
            connection.close()

    def listen_anew(self) -> None:
        """Listen under the same path again where somebody has deleted the socket's file.

        Clients that are connected stay so. Raises as the constructor does, and then nobody can connect.
        """
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                return
        self._poller.forget(self._listener.fileno())
        self._listener.close()
        self._listener = _listen(self.path)
        self._inode = self.path.stat().st_ino
        self._poller.watch(self._listener.fileno(), IN, self._accept)

    def flush(self, deadline: float) -> None:
        """Write out the answers that have been given, until `deadline` (monotonic seconds)."""
        for connection in tuple(self._connections):
            connection.flush(deadline)

    def _accept(self, _mask: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it has gone again, or there are no descriptors left for it
            return
        if len(self._connections) >= CONNECTION_LIMIT:
            client.close()
            return
        client.setblocking(False)
        handle = self._handle if is_own_user(client) else self._refuse_guarded
        self._connections.add(_Connection(client, self._poller, handle, self._connections.discard))

    def _refuse_guarded(self, request: Request, answer: Answer) -> None:
        asked = request.get("do")
        if isinstance(asked, str) and asked in self._guarded:
            raise MissingError(f"being asked to {asked}", "only the daemon's own user may", hint="Be root.")
        self._handle(request, answer)


def is_own_user(client: socket.socket) -> bool:
    """Whether who has connected is of this process's user (SO_PEERCRED of unix(7))."""
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    user: int = _UCRED.unpack(credentials)[1]
    return user == os.geteuid()


def listening_process(path: Path) -> int | None:
    """The process that listens on the socket; None where nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError:
            return None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    process: int = _UCRED.unpack(credentials)[0]
    return process


class _Connection:
    """One client: at most one request in work, and no reading ahead of it, so that memory is bounded."""

    def __init__(
        self,
        client: socket.socket,
        poller: Poller,
        handle: Callable[[Request, Answer], None],
        closed: Callable[[_Connection], None],
    ) -> None:
        self._client = client
        self._poller = poller
        self._handle = handle
        self._closed = closed
        self._input = bytearray()
        self._output = bytearray()
        self._in_work = False
        self._ended = False  # the client has said all that it will
        self._refused = False  # what follows is no requests any more: read, so that no reset
        # overtakes the refusal, and thrown away
        poller.watch(client.fileno(), IN, self._ready)

    def close(self) -> None:
        if self._client.fileno() >= 0:
            self._poller.forget(self._client.fileno())
            self._client.close()
            self._closed(self)

    def flush(self, deadline: float) -> None:
        with contextlib.suppress(OSError):
            self._client.settimeout(max(0.001, deadline - time.monotonic()))
            self._client.sendall(self._output)
            self._output.clear()

    def _ready(self, mask: int) -> None:
        try:
            if mask & OUT:
                del self._output[: self._client.send(self._output[:CHUNK])]
            elif mask & IN:
                data = self._client.recv(CHUNK)
                self._ended = not data
                if not self._refused:
                    self._input += data
            elif mask & BROKEN:  # nobody is left to read the answer
                self.close()
                return
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._go_on()

    def _go_on(self) -> None:
        """Take the next request if there is one, and wait for whatever comes next."""
        while not self._in_work and not self._output and (line := self._next_line()) is not None:
            self._serve(line)
        if self._client.fileno() < 0:
            return
        if self._ended and not self._output and not self._in_work:
            self.close()
        elif self._output:
            self._poller.change(self._client.fileno(), OUT)
        else:
            self._poller.change(self._client.fileno(), 0 if self._in_work else IN)

    def _next_line(self) -> bytes | None:
        if self._refused:
            return None
        end = self._input.find(b"\n", 0, LINE_LIMIT)
        if end >= 0:
            line = bytes(self._input[:end])
            del self._input[: end + 1]
            return line
        if len(self._input) >= LINE_LIMIT:
            self._refused = True
            self._input.clear()
            self._give(
                failure(InvalidInputError("reading a request", f"it is longer than {LINE_LIMIT} bytes"))
            )
        return None

    def _serve(self, line: bytes) -> None:
        self._in_work = True
        try:
            self._handle(_parse(line, "reading a request"), self._answer)
        except LtkError as error:
            self._give(failure(error))

    def _answer(self, value: Mapping[str, object]) -> None:
        """Give the answer to the request in work; a client that has gone does not hear it."""
        if not self._in_work or self._client.fileno() < 0:
            return
        self._give({"ok": True, **value})
        self._poller.change(self._client.fileno(), OUT)

    def _give(self, value: Mapping[str, object]) -> None:
        self._in_work = False
        self._output += _line(value)


def ask(path: Path, request: Request, timeout: float = 10.0) -> dict[str, object]:
    """Send `request` to the process that listens on `path` and return its answer, less "ok".

    Blocks for at most `timeout` seconds. Raises NobodyListensError when there is no such process, and
    the LtkError that the process answered with (its class by "exit_status").
    """
    end = time.monotonic() + timeout
    with _Question(path, request, timeout) as question:
        return question.answer(end)


def ask_each(
    questions: Sequence[tuple[Path, Request]], timeout: float = 10.0
) -> list[dict[str, object] | LtkError]:
    """Send each request to the process that listens on its path, and return the answers in their order.

    Several processes work on their answers at the same time. `timeout` (seconds) is that of `asked`; in the
    place of an answer stands the error that `ask` would have raised.
    """
    found: list[dict[str, object] | LtkError] = []
    for start in range(0, len(questions), ASKED_AT_ONCE):
        with asked(questions[start : start + ASKED_AT_ONCE], timeout) as answers:
            found += answers()
    return found


@contextlib.contextmanager
def asked(
    questions: Sequence[tuple[Path, Request]], timeout: float
) -> Iterator[Callable[[], list[dict[str, object] | LtkError]]]:
    """Send these requests, and have the body do something else until it calls for the answers.

    What is sent side by side is for the caller to bound, by ASKED_AT_ONCE where one process gets several.
    Each answer has `timeout` seconds from the one before it on, since many processes share few cores, and all
    together as long as ASKED_AT_ONCE after the other would have. One that has come is taken, however late it
    is called for.
    """
    end = time.monotonic() + timeout * math.ceil(len(questions) / ASKED_AT_ONCE)
    with contextlib.ExitStack() as stack:
        sent: list[_Question | LtkError] = []
        for path, request in questions:
            try:
                sent.append(stack.enter_context(_Question(path, request, timeout)))
            except LtkError as error:
                sent.append(error)
        yield lambda: [each if isinstance(each, LtkError) else _answer_of(each, end) for each in sent]


class _Question:
    """One request that has been sent, and whose answer is awaited."""

    def __init__(self, path: Path, request: Request, timeout: float) -> None:
        self._doing = f"asking the process at {path} to {request.get('do')}"
        self._timeout = timeout
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(self._connection, path, timeout, self._doing)
            with self._losses_told():
                self._connection.sendall(_line(request))
        except LtkError:
            self._connection.close()
            raise

    def __enter__(self) -> _Question:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def answer(self, end: float) -> dict[str, object]:
        """Wait for the answer from now on, but not beyond `end`; raises as `ask` does."""
        with self._losses_told():
            line = _read_line(self._connection, min(end, time.monotonic() + self._timeout))
        if not line:
            raise LtkError(self._doing, "it ended before it answered", hint="Its log says why.")
        return _understood(_parse(line, self._doing), self._doing)

    @contextlib.contextmanager
    def _losses_told(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise LtkError(self._doing, f"no answer within {self._timeout:g} s") from None
        except OSError as error:
            raise LtkError(self._doing, f"the connection broke: {error.strerror}") from None


def _answer_of(question: _Question, end: float) -> dict[str, object] | LtkError:
    try:
        return question.answer(end)
    except LtkError as error:
        return error


def _connect(connection: socket.socket, path: Path, timeout: float, doing: str) -> None:
    connection.settimeout(timeout)
    try:
        connection.connect(_fitting(path, doing))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NobodyListensError(
            doing, "no process listens there", hint="`ltk apply` starts what is not running."
        ) from None
    except PermissionError:
        raise LtkError(
            doing, "permission denied", hint="Only the owner of the socket may: run it as root."
        ) from None
    except TimeoutError:
        raise LtkError(doing, f"it took no connection within {timeout:g} s") from None
    except OSError as error:
        raise LtkError(doing, error.strerror or str(error)) from None


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    """All bytes up to the end of the line; b"" when the connection was closed before it."""
    received = bytearray()
    while not received.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        data = connection.recv(CHUNK)
        if not data:
            return b""
        received += data
    return bytes(received)


def _understood(answer: dict[str, object], doing: str) -> dict[str, object]:
    if answer.pop("ok", None) is True:
        return answer
    hint = answer.get("hint")
    kinds = (InvalidInputError, InTheWayError, MissingError, BusyError)
    status = answer.get("exit_status")
    kind = next((kind for kind in kinds if kind.exit_status == status), LtkError)
    raise kind(
        doing,
        str(answer.get("error", "it failed and did not say why")),
        hint=hint if isinstance(hint, str) else None,
    )


def _parse(line: bytes, doing: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(doing, f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInputError(doing, "it is not a JSON object")
    return value


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _fitting(path: Path, doing: str) -> str:
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise InvalidInputError(doing, f"a socket's path has at most {PATH_LIMIT} bytes")
    return str(path)


def _listen(path: Path) -> socket.socket:
    doing = f"listening on {path}"
    name = _fitting(path, doing)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    try:
        if path.exists():
            _remove_dead(path, doing)
        mask = os.umask(0o177)
        try:
            listener.bind(name)
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise LtkError(doing, error.strerror or str(error)) from None
    except LtkError:
        listener.close()
        raise
    return listener


def _remove_dead(path: Path, doing: str) -> None:
    """Remove the socket's file that a killed process left; never one that is listened on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            if not path.is_socket():
                raise InTheWayError(doing, "a file that is no socket is there") from None
            path.unlink()
        except BlockingIOError:
            raise BusyError(doing, "another process listens there") from None
        else:
            raise BusyError(doing, "another process listens there")
