"""The page of metrics over HTTP: one address, read only, and bounded whatever its clients do."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from ltk.errors import LtkError
from ltk.node.poller import Poller
from ltk.node.scrape import CHUNK, CLIENT_LIMIT, REQUEST_LIMIT, PageServer

GET = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"
PAGE = "up 1\n"

TurnUntil = Callable[[Callable[[], object], str], None]


class Clock:
    """What the poller takes for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def served(poller: Poller, page: Callable[[], str] = lambda: PAGE) -> Iterator[int]:
    """The port of a server on the loopback."""
    port = free_port()
    with closing(PageServer("127.0.0.1", port, poller, page)):
        yield port


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    return client


def received(client: socket.socket, turn_until: TurnUntil) -> bytes:
    """All that the server says, up to the end of the connection."""
    said = bytearray()

    def ended() -> bool:
        try:
            while data := client.recv(CHUNK):
                said.extend(data)
        except BlockingIOError:
            return False
        return True

    turn_until(ended, "the end of the connection")
    return bytes(said)


def asked(port: int, request: bytes, turn_until: TurnUntil) -> bytes:
    with closing(connected(port)) as client:
        client.sendall(request)
        return received(client, turn_until)


def test_the_page_is_made_anew_for_each_request(poller: Poller, turn_until: TurnUntil) -> None:
    pages = iter(["first 1\n", "second 2\n"])
    with served(poller, lambda: next(pages)) as port:
        head, _, body = asked(port, GET, turn_until).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
        assert b"Content-Length: 8" in head
        assert body == b"first 1\n"
        assert asked(port, GET.replace(b"/metrics", b"/metrics?x=1"), turn_until).endswith(b"second 2\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"POST /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", 405),
        (b"DELETE /metrics HTTP/1.0\r\n\r\n", 405),
        (b"get /metrics HTTP/1.1\r\n\r\n", 405),
        (b"\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\n\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * REQUEST_LIMIT, 431),
    ],
)
def test_everything_else_is_refused_with_its_status(
    request_: bytes, status: int, poller: Poller, turn_until: TurnUntil
) -> None:
    def no_page() -> str:
        raise AssertionError("the page was made for a request that is refused")

    with served(poller, no_page) as port:
        said = asked(port, request_, turn_until)
    assert said.startswith(b"HTTP/1.1 %d " % status), said
    assert said.endswith(b"there is GET /metrics\n")
    assert (b"Allow: GET" in said) is (status == 405)


def test_an_error_while_the_page_is_made_is_told_and_the_server_goes_on(
    poller: Poller, turn_until: TurnUntil
) -> None:
    def fails() -> str:
        raise LtkError("reading the metrics of t", "no daemon answers")

    with served(poller, fails) as port:
        for _ in range(2):
            said = asked(port, GET, turn_until)
            assert said.startswith(b"HTTP/1.1 503 ")
            assert said.endswith(b"no daemon answers\n")


def test_a_request_in_pieces_is_answered_once_it_is_whole(poller: Poller, turn_until: TurnUntil) -> None:
    with served(poller) as port, closing(connected(port)) as client:
        for byte in GET[:-1]:
            client.sendall(bytes([byte]))
            poller.wait(0.0)
        client.sendall(GET[-1:])
        assert received(client, turn_until).endswith(PAGE.encode())


def test_a_large_page_arrives_whole_at_a_slow_reader(poller: Poller, turn_until: TurnUntil) -> None:
    page = "x" * (8 << 20)  # more than the sockets' buffers hold
    with served(poller, lambda: page) as port:
        assert asked(port, GET, turn_until).endswith(page.encode())


def test_a_client_that_says_nothing_is_sent_away(turn_until: TurnUntil) -> None:
    clock = Clock()
    poller = Poller(clock)
    with closing(poller), served(poller) as port, closing(connected(port)) as client:
        poller.wait(clock.now)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        clock.now += 4.9
        client.sendall(b"GET /metr")  # a little now and then does not help
        poller.wait(clock.now)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        clock.now += 0.2
        poller.wait(clock.now)
        assert client.recv(1) == b""


def test_however_many_say_nothing_the_next_request_is_answered(poller: Poller, turn_until: TurnUntil) -> None:
    with served(poller) as port:
        idlers = []
        for _ in range(3 * CLIENT_LIMIT):
            idlers.append(connected(port))
            poller.wait(0.0)
        assert asked(port, GET, turn_until).endswith(PAGE.encode())
        ended = [idler for idler in idlers if is_closed(idler)]
        assert len(ended) >= len(idlers) - CLIENT_LIMIT
        assert idlers[0] in ended, "who has been there longest makes room"
        assert idlers[-1] not in ended
        for idler in idlers:
            idler.close()


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_port_that_is_taken_is_named_with_what_to_do(poller: Poller) -> None:
    with served(poller) as port, pytest.raises(LtkError, match=f"TCP port {port}: it is in use") as caught:
        PageServer("127.0.0.1", port, poller, lambda: PAGE)
    assert caught.value.hint == f"`ss -tlpn sport = {port}` tells by whom."


def test_an_address_of_another_machine_is_named(poller: Poller) -> None:
    with pytest.raises(LtkError, match=r"192\.0\.2\.1, TCP port 9586: the address is none of this machine's"):
        PageServer("192.0.2.1", 9586, poller, lambda: PAGE)


def test_nothing_is_left_when_the_server_ends(poller: Poller) -> None:
    with served(poller) as port:
        client = connected(port)
        poller.wait(0.0)
    with closing(client):
        client.setblocking(True)
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
