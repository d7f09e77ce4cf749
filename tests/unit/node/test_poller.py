from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

from ltk.node.poller import IN, Backoff, Poller, Signals

TurnUntil = Callable[[Callable[[], object], str], None]


def test_a_descriptor_closed_by_an_earlier_callback_of_the_batch_is_not_called(poller: Poller) -> None:
    first, first_end = socket.socketpair()
    second, second_end = socket.socketpair()
    called = []

    def of(name: str, other: socket.socket) -> Callable[[int], None]:
        def ready(mask: int) -> None:
            called.append(name)
            poller.forget(other.fileno())

        return ready

    poller.watch(first.fileno(), IN, of("first", second))
    poller.watch(second.fileno(), IN, of("second", first))
    first_end.send(b"x")
    second_end.send(b"x")
    poller.wait()
    assert len(called) == 1
    for end in (first, first_end, second, second_end):
        end.close()


def test_deadlines_come_in_order_and_cancelled_ones_never(poller: Poller, turn_until: TurnUntil) -> None:
    called: list[str] = []
    poller.later(0.02, lambda: called.append("second"))
    poller.later(0.01, lambda: called.append("first"))
    poller.later(0.015, lambda: called.append("never")).cancel()
    turn_until(lambda: len(called) >= 2, "two deadlines")
    assert called == ["first", "second"]


def test_waiting_for_a_deadline_does_not_spin(poller: Poller) -> None:
    poller.later(0.2, lambda: None)
    turns, end, cpu = 0, time.monotonic() + 0.2, time.process_time()
    while time.monotonic() < end:
        poller.wait(end)
        turns += 1
    assert turns <= 3
    assert time.process_time() - cpu < 0.05


def test_a_signal_wakes_the_poller_and_comes_as_a_call(poller: Poller, turn_until: TurnUntil) -> None:
    arrived: list[int] = []
    before = signal.getsignal(signal.SIGUSR1)
    signals = Signals(poller, [signal.SIGUSR1], arrived.append)
    sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    sender.start()
    turn_until(lambda: arrived, "the signal")
    signals.close()
    sender.join()
    assert arrived == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_backing_off_doubles_up_to_the_limit_and_begins_anew() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next() for _ in range(4)] == [0.1, 0.2, 0.4, 0.5]
    backoff.reset()
    assert backoff.next() == 0.1


def test_a_forked_child_that_lets_go_takes_nothing_from_its_parent(
    poller: Poller, turn_until: TurnUntil
) -> None:
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []
    poller.watch(ours.fileno(), IN, lambda _: heard.append(ours.recv(1)))
    pid = os.fork()
    if pid == 0:
        poller.close()
        poller.forget(ours.fileno())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs.send(b"x")
    turn_until(lambda: heard, "the parent's own byte")
    ours.close()
    theirs.close()
