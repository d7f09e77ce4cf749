from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ltk.node import resolve
from ltk.node.poller import Poller
from ltk.node.resolve import Resolver, look_up, numeric

TurnUntil = Callable[[Callable[[], object], str], None]
Changes = list[tuple[str, str | None]]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("hub.example", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_addresses_are_told_from_names(host: str, address: str | None) -> None:
    assert numeric(host) == address


def test_a_name_is_resolved_while_the_poller_goes_on(poller: Poller, turn_until: TurnUntil) -> None:
    may_answer = threading.Event()
    changes: Changes = []

    def lookup(host: str) -> str:
        may_answer.wait(5)
        return "192.0.2.7"

    resolver = Resolver(poller, lambda host, address: changes.append((host, address)), lookup)
    resolver.want(["hub.example", "192.0.2.1"])
    assert resolver.address("hub.example") is None
    assert resolver.address("192.0.2.1") == "192.0.2.1"
    went_on: list[bool] = []
    poller.later(0.0, lambda: went_on.append(True))
    turn_until(lambda: went_on, "the poller")
    may_answer.set()
    turn_until(lambda: changes, "the address")
    assert changes == [("hub.example", "192.0.2.7")]
    assert resolver.address("hub.example") == "192.0.2.7"
    resolver.want(["hub.example"])
    assert resolver.address("hub.example") == "192.0.2.7"
    resolver.close()


def test_a_failing_name_is_tried_again_until_it_has_an_address(
    poller: Poller, turn_until: TurnUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "FIRST_RETRY", 0.01)
    answers: list[str | None] = [None, None, "192.0.2.7"]
    changes: Changes = []
    resolver = Resolver(
        poller, lambda host, address: changes.append((host, address)), lambda _: answers.pop(0)
    )
    resolver.want(["hub.example"])
    turn_until(lambda: len(changes) == 3, "the third attempt")
    assert [address for _, address in changes] == [None, None, "192.0.2.7"]
    resolver.close()


def test_a_name_no_longer_wanted_is_neither_heard_nor_tried_again(
    poller: Poller, turn_until: TurnUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "FIRST_RETRY", 0.01)
    asked: list[str] = []
    changes: Changes = []

    def lookup(host: str) -> None:
        asked.append(host)

    resolver = Resolver(poller, lambda host, address: changes.append((host, address)), lookup)
    resolver.want(["hub.example"])
    turn_until(lambda: changes, "the first failure")
    resolver.want([])
    over: list[bool] = []
    poller.later(0.05, lambda: over.append(True))
    turn_until(lambda: over, "a few back-offs")
    assert asked == ["hub.example"]
    resolver.close()


@pytest.mark.parametrize("host", ["no such name", "x" * 300, "\udcff", "a..b"])
def test_what_no_name_server_could_know_is_a_failure_and_not_a_crash(host: str) -> None:
    assert look_up(host) is None
