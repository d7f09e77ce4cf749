from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ltk.errors import BusyError, InTheWayError, InvalidInputError, LtkError
from ltk.node.control import (
    CONNECTION_LIMIT,
    LINE_LIMIT,
    Answer,
    ControlServer,
    NobodyListensError,
    Request,
    ask,
    ask_each,
    asked,
)
from ltk.node.poller import IN, Poller

TurnUntil = Callable[[Callable[[], object], str], None]


class Echo:
    """Answers with what it was asked; holds back what is asked to wait; raises what is asked to fail."""

    def __init__(self) -> None:
        self.held: list[Answer] = []

    def handle(self, request: Request, answer: Answer) -> None:
        match request:
            case {"do": "wait"}:
                self.held.append(answer)
            case {"do": "fail"}:
                raise InTheWayError("trying", "no way", hint="another way")
            case {"do": "big"}:
                answer({"big": "x" * (2 * LINE_LIMIT)})
            case _:
                answer({"echo": request})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


@pytest.fixture
def server(path: Path, poller: Poller, echo: Echo) -> Iterator[ControlServer]:
    made = ControlServer(path, poller, echo.handle)
    yield made
    made.close()


class Client:
    """A client that never blocks, whatever the server does."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.received = b""
        self.ended = False

    def lines(self) -> list[dict[str, object]]:
        try:
            while data := self.socket.recv(1 << 20):
                self.received += data
            self.ended = True
        except BlockingIOError:
            pass
        return [json.loads(line) for line in self.received.split(b"\n")[:-1]]


@pytest.fixture
def client(server: ControlServer, path: Path) -> Iterator[Client]:
    made = Client(path)
    yield made
    made.socket.close()


def in_background(poller: Poller, call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run `call` in a thread; its result or LtkError comes in the list and wakes the poller."""
    outcome: list[object] = []
    ours, theirs = socket.socketpair()
    poller.watch(ours.fileno(), IN, lambda _: (poller.forget(ours.fileno()), ours.close()))

    def run() -> None:
        try:
            outcome.append(call())
        except LtkError as error:
            outcome.append(error)
        theirs.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_the_socket_is_private_whatever_the_umask(path: Path, poller: Poller, echo: Echo) -> None:
    mask = os.umask(0)
    try:
        server = ControlServer(path, poller, echo.handle)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.close()
    assert not path.exists()


def test_two_requests_in_one_write_are_answered_in_order(client: Client, turn_until: TurnUntil) -> None:
    client.socket.send(b'{"do":1}\n{"do":2}\n')
    turn_until(lambda: len(client.lines()) == 2, "two answers")
    assert client.lines() == [{"ok": True, "echo": {"do": 1}}, {"ok": True, "echo": {"do": 2}}]


def test_a_request_in_pieces_is_put_together(client: Client, turn_until: TurnUntil, poller: Poller) -> None:
    for piece in (b'{"d', b'o":', b"3}"):
        client.socket.send(piece)
        poller.wait()
        assert client.lines() == []
    client.socket.send(b"\n")
    turn_until(lambda: client.lines(), "the answer")


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b"\xff", b"", b"[" * 200_000])
def test_what_is_no_request_is_refused_and_the_next_one_answered(
    client: Client, turn_until: TurnUntil, line: bytes
) -> None:
    client.socket.send(line + b"\n" + b'{"do":1}\n')
    turn_until(lambda: len(client.lines()) == 2, "two answers")
    refused, answered = client.lines()
    assert refused["ok"] is False
    assert "it is not" in str(refused["error"])
    assert answered["ok"] is True


def test_a_line_without_end_is_refused_and_what_follows_thrown_away(
    client: Client, turn_until: TurnUntil, poller: Poller
) -> None:
    left = 3 * LINE_LIMIT
    while left > 0:
        try:
            left -= client.socket.send(b"x" * min(left, 65536))
        except BlockingIOError:
            poller.wait()
    client.socket.shutdown(socket.SHUT_WR)
    turn_until(lambda: client.lines() and client.ended, "the refusal and the end")
    assert ["longer than" in str(line["error"]) for line in client.lines()] == [True]


def test_an_error_carries_its_hint_and_status_to_the_asker(
    server: ControlServer, path: Path, poller: Poller, turn_until: TurnUntil
) -> None:
    thread, outcome = in_background(poller, lambda: ask(path, {"do": "fail"}))
    turn_until(lambda: outcome, "the answer")
    thread.join()
    error = outcome[0]
    assert isinstance(error, InTheWayError)
    assert "trying: no way" in str(error)
    assert error.hint == "another way"


def test_a_guarded_request_is_refused_to_another_user_and_any_other_is_not(
    path: Path, poller: Poller, echo: Echo, turn_until: TurnUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ControlServer(path, poller, echo.handle, guarded=frozenset({"secret"}))
    own = Client(path)
    own.socket.send(b'{"do":"secret"}\n')
    turn_until(lambda: own.lines(), "the own user's answer")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # this process is somebody else to the server
    other = Client(path)
    other.socket.send(b'{"do":"secret"}\n{"do":["secret"]}\n{"do":"open"}\n')
    turn_until(lambda: len(other.lines()) == 3, "the answers to the other user")
    assert own.lines()[0]["ok"] is True
    assert [line["ok"] for line in other.lines()] == [False, True, True]
    assert "only the daemon's own user may" in str(other.lines()[0]["error"])
    own.socket.close()
    other.socket.close()
    server.close()


def test_a_late_answer_arrives_and_others_are_served_meanwhile(
    server: ControlServer, path: Path, echo: Echo, turn_until: TurnUntil
) -> None:
    slow, quick = Client(path), Client(path)
    slow.socket.send(b'{"do":"wait"}\n{"do":"after"}\n')
    turn_until(lambda: echo.held, "the request that waits")
    quick.socket.send(b'{"do":"quick"}\n')
    turn_until(lambda: quick.lines(), "the other client's answer")
    assert slow.lines() == []
    echo.held[0]({"late": True})
    turn_until(lambda: len(slow.lines()) == 2, "the late answer and the one after it")
    assert slow.lines()[0] == {"ok": True, "late": True}
    slow.socket.close()
    quick.socket.close()


def test_a_client_that_leaves_before_its_answer_harms_nobody(
    client: Client, path: Path, echo: Echo, turn_until: TurnUntil
) -> None:
    client.socket.send(b'{"do":"wait"}\n')
    turn_until(lambda: echo.held, "the request that waits")
    client.socket.close()
    other = Client(path)
    other.socket.send(b'{"do":1}\n')
    turn_until(lambda: other.lines(), "the other client's answer")
    echo.held[0]({})
    other.socket.close()


def test_a_client_that_has_said_all_still_gets_its_answer(client: Client, turn_until: TurnUntil) -> None:
    client.socket.send(b'{"do":"big"}\n')
    client.socket.shutdown(socket.SHUT_WR)
    turn_until(lambda: client.lines() and client.ended, "the whole answer and the end")
    assert len(str(client.lines()[0]["big"])) == 2 * LINE_LIMIT


def test_waiting_on_an_answer_that_is_not_read_does_not_spin(
    client: Client, turn_until: TurnUntil, poller: Poller, echo: Echo
) -> None:
    client.socket.send(b'{"do":"wait"}\n{"do":"wait"}\n')
    client.socket.shutdown(socket.SHUT_WR)
    turn_until(lambda: echo.held, "the request that waits")
    idle = []
    poller.later(0.1, lambda: idle.append(True))
    turns = 0
    while not idle:
        poller.wait()
        turns += 1
    assert turns <= 3


def test_too_many_clients_are_turned_away_and_the_first_ones_served(
    server: ControlServer, path: Path, turn_until: TurnUntil
) -> None:
    clients = []
    for _ in range(CONNECTION_LIMIT + 1):
        clients.append(Client(path))
        clients[0].socket.send(b'{"do":1}\n')
        turn_until(lambda: len(clients[0].lines()) == len(clients), "the first client's answer")
    turn_until(lambda: clients[-1].lines() or clients[-1].ended, "the end of the last client")
    for each in clients:
        each.socket.close()


def test_a_second_server_is_refused_and_a_dead_ones_file_replaced(
    path: Path, poller: Poller, echo: Echo
) -> None:
    first = ControlServer(path, poller, echo.handle)
    with pytest.raises(BusyError, match="another process listens there"):
        ControlServer(path, poller, echo.handle)
    first.close(remove=False)
    assert path.exists()
    ControlServer(path, poller, echo.handle).close()
    assert not path.exists()


def test_a_file_that_is_no_socket_is_not_replaced(path: Path, poller: Poller, echo: Echo) -> None:
    path.write_text("mine")
    with pytest.raises(LtkError, match="listening on"):
        ControlServer(path, poller, echo.handle)
    assert path.read_text() == "mine"


def test_asking_nobody_says_where_and_what_to_do(path: Path) -> None:
    with pytest.raises(NobodyListensError, match="no process listens there") as caught:
        ask(path, {"do": "status"})
    assert str(path) in str(caught.value)
    assert "ltk apply" in str(caught.value.hint)


def test_a_path_too_long_for_a_socket_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at most 107 bytes"):
        ask(tmp_path / ("x" * 120), {"do": "status"})


def test_an_asker_waits_no_longer_than_it_said(server: ControlServer, path: Path) -> None:
    with pytest.raises(LtkError, match=r"no answer within 0\.05 s"):
        ask(path, {"do": "status"}, timeout=0.05)


def test_many_are_asked_at_once_and_their_answers_stand_in_the_order_of_the_questions(
    path: Path, tmp_path: Path, server: ControlServer, turn_until: TurnUntil
) -> None:
    """More than one process takes connections for at a time; and errors stand where answers would."""
    questions: list[tuple[Path, Request]] = [(path, {"do": "echo", "n": n}) for n in range(100)]
    questions[7] = (path, {"do": "fail"})
    questions[8] = (tmp_path / "nobody.sock", {"do": "echo"})
    found: list[list[dict[str, object] | LtkError]] = []
    asker = threading.Thread(target=lambda: found.append(ask_each(questions)))
    asker.start()
    turn_until(lambda: found, "the answers")
    asker.join()
    (answers,) = found
    assert isinstance(answers[7], InTheWayError)
    assert isinstance(answers[8], NobodyListensError)
    numbers = [each["echo"]["n"] for each in answers if isinstance(each, dict)]  # type: ignore[index]
    assert numbers == [n for n in range(100) if n not in (7, 8)]


def test_an_answer_that_has_come_is_taken_however_late_it_is_called_for(
    path: Path, server: ControlServer, turn_until: TurnUntil
) -> None:
    deadline = 0.02  # seconds
    begin = time.monotonic()
    with asked(
        [(path, {"do": "echo"}), (path.with_name("nobody.sock"), {"do": "echo"})], deadline
    ) as answers:
        turn_until(lambda: time.monotonic() > begin + 2 * deadline, "the deadline to pass")
        came, missing = answers()
    assert came == {"echo": {"do": "echo"}}
    assert isinstance(missing, NobodyListensError)
