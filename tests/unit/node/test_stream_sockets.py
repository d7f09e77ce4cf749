"""TCP streams over an engine of straw: datagrams pass whole, strangers' bytes end a stream, nothing waits."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ltk.errors import LtkError
from ltk.node.framing import LENGTH
from ltk.node.poller import Poller
from ltk.node.streams import BAD_FRAME, NO_STREAM, REFUSED, SEND_FULL, WAITING_LIMIT, Streams, open_listener
from ltk.protocol.messages import Endpoint

TurnUntil = Callable[[Callable[[], object], str], None]
LOCAL = "127.0.0.1"


class Straw:
    """Stands for the engine: numbers streams, and records what it is told."""

    def __init__(self) -> None:
        self.accepts = True
        self.accepted: list[Endpoint] = []
        self.opened: list[int] = []
        self.ended: list[int] = []

    def stream_accepted(self, source: Endpoint, now: float) -> int | None:
        self.accepted.append(source)
        return -len(self.accepted) if self.accepts else None

    def stream_opened(self, number: int, now: float) -> None:
        self.opened.append(number)

    def stream_ended(self, number: int, now: float) -> None:
        self.ended.append(number)


class End:
    """The streams of one node, and what came in on them."""

    def __init__(self, poller: Poller) -> None:
        self.engine = Straw()
        self.drops: Counter[str] = Counter()
        self.got: list[tuple[bytes, int]] = []
        self.drained = 0
        self.streams = Streams(
            poller,
            self.engine,
            self.drops,
            take=lambda data, size, source: self.got.append((bytes(data), size)),
            drain=self._drain,
            clock=time.monotonic,
        )

    def _drain(self) -> None:
        self.drained += 1

    @property
    def bytes_in(self) -> int:
        return sum(len(data) for data, _ in self.got)


@pytest.fixture
def ends(poller: Poller, turn_until: TurnUntil) -> Iterator[tuple[End, End, Endpoint, Endpoint]]:
    """A client and a server with one stream between them, and its endpoint at each."""
    client, server = End(poller), End(poller)
    server.streams.listen_at(open_listener(0))
    assert server.streams.port
    there = Endpoint(LOCAL, server.streams.port, -7)
    client.streams.connect(there)
    turn_until(lambda: client.engine.opened and server.engine.accepted, "the stream")
    assert client.engine.opened == [-7]
    yield client, server, there, server.engine.accepted[0]._replace(socket=-1)
    client.streams.close_all()
    server.streams.close_all()


Ends = tuple[End, End, Endpoint, Endpoint]


def stranger(server: End) -> socket.socket:
    assert server.streams.port
    return socket.create_connection((LOCAL, server.streams.port), timeout=5)


def test_datagrams_pass_whole_in_both_directions(ends: Ends, turn_until: TurnUntil) -> None:
    client, server, there, back = ends
    client.streams.send(b"a" * 100 + b"b" * 100 + b"c" * 7, 100, there)
    turn_until(lambda: server.bytes_in == 207, "three datagrams")
    assert server.got == [(b"a" * 100 + b"b" * 100 + b"c" * 7, 100)]
    server.streams.send(b"x" * 1400, 1400, back)
    turn_until(lambda: client.got, "an answer")
    assert client.got == [(b"x" * 1400, 1400)]
    assert server.drained >= 1


def test_whoever_takes_nothing_loses_whole_datagrams_and_holds_nobody_up(
    ends: Ends, poller: Poller, turn_until: TurnUntil
) -> None:
    client, server, _, _ = ends
    with stranger(server) as lazy:
        turn_until(lambda: len(server.engine.accepted) == 2, "the stranger")
        there = server.engine.accepted[1]._replace(socket=-2)
        began = time.monotonic()
        count = 0
        while not server.drops[SEND_FULL]:
            server.streams.send(count.to_bytes(4, "big") * 350, 1400, there)
            count += 1
            assert count < 40_000, "there is no bound"
        assert time.monotonic() - began < 5.0
        assert count * 1400 > WAITING_LIMIT
        lazy.setblocking(False)
        got, numbers = bytearray(), []

        def read() -> bool:
            with contextlib.suppress(BlockingIOError):
                got.extend(lazy.recv(1 << 20))
            while len(got) >= LENGTH.size and len(got) >= LENGTH.size + LENGTH.unpack_from(got)[0]:
                size = LENGTH.unpack_from(got)[0]
                assert size == 1400
                numbers.append(int.from_bytes(got[2:6], "big"))
                assert bytes(got[2 : 2 + size]) == numbers[-1].to_bytes(4, "big") * 350, "it is torn"
                del got[: LENGTH.size + size]
            return len(numbers) >= count - server.drops[SEND_FULL]

        deadline = time.monotonic() + 10.0
        while not read():
            assert time.monotonic() < deadline, f"{len(numbers)} of {count}"
            poller.wait(time.monotonic() + 0.01)
        assert numbers == sorted(numbers)
    assert client.engine.ended == []


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n" + bytes(65536), bytes(2), b"\xff\xff" + bytes(10)]
)
def test_what_is_no_stream_of_datagrams_is_closed_and_not_answered(
    ends: Ends, turn_until: TurnUntil, junk: bytes
) -> None:
    _, server, _, _ = ends
    with stranger(server) as visitor:
        visitor.sendall(junk)
        if junk.startswith(
            b"GET"
        ):  # such a length is possible: the engine gets it, and knows no such message
            turn_until(lambda: server.got, "a datagram of junk")
            return
        turn_until(lambda: server.engine.ended == [-2], "the end of the stream")
        assert server.drops[BAD_FRAME] == 1
        try:
            assert visitor.recv(10) == b""
        except ConnectionResetError:
            return


def test_both_sides_are_told_of_the_end(ends: Ends, turn_until: TurnUntil) -> None:
    client, server, there, back = ends
    client.streams.close(-7)
    turn_until(lambda: server.engine.ended == [-1], "the end at the server")
    assert client.engine.ended == [], "who closes a stream knows it"
    server.streams.send(b"late", 4, back)
    client.streams.send(b"late", 4, there)
    assert server.drops[NO_STREAM] == client.drops[NO_STREAM] == 1


def test_a_reset_is_the_end(ends: Ends, turn_until: TurnUntil) -> None:
    _, server, _, _ = ends
    visitor = stranger(server)
    turn_until(lambda: len(server.engine.accepted) == 2, "the stranger")
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    visitor.close()
    turn_until(lambda: server.engine.ended == [-2], "the end of the stream")


def test_who_is_not_let_in_is_closed_at_once(ends: Ends, turn_until: TurnUntil) -> None:
    _, server, _, _ = ends
    server.engine.accepts = False
    with stranger(server) as visitor:
        turn_until(lambda: server.drops[REFUSED] == 1, "the refusal")
        assert visitor.recv(10) == b""


def test_a_stream_that_is_refused_is_told_of_later_and_never_from_within(
    poller: Poller, turn_until: TurnUntil
) -> None:
    client = End(poller)
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
    client.streams.connect(Endpoint(LOCAL, port, -1))
    client.streams.connect(Endpoint("255.255.255.255", 9, -2))  # TCP is not for everybody at once
    assert client.engine.ended == []
    turn_until(lambda: sorted(client.engine.ended) == [-2, -1], "both ends")


def test_without_descriptors_nothing_spins_and_later_streams_are_accepted(
    ends: Ends, poller: Poller, turn_until: TurnUntil
) -> None:
    _, server, _, _ = ends
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with stranger(server), stranger(server):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            turn_until(lambda: server.drops[REFUSED], "that there are no more descriptors")
            assert len(server.engine.accepted) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        turn_until(lambda: len(server.engine.accepted) == 3, "both, once there are")


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do() -> None:
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LtkError, match=f"listening on TCP port {port}: it is in use") as caught:
            open_listener(port)
    assert "transport: udp" in str(caught.value.hint)
