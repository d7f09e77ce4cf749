from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from ltk.node.log import say
from ltk.node.notify import DEVICE_GONE, READY, Notifier
from ltk.node.report import describe
from ltk.protocol.engine import Endpoint
from ltk.protocol.events import (
    EndpointChanged,
    HandshakeCompleted,
    HandshakeGaveUp,
    HandshakeUnanswered,
    SessionErased,
)

OLD, NEW = Endpoint("192.0.2.1", 1), Endpoint("2001:db8::1", 2)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (HandshakeCompleted("hub", initiator=True), "hub: handshake completed, asked for by us"),
        (HandshakeCompleted("hub", initiator=False), "hub: handshake completed, asked for by them"),
        (HandshakeGaveUp("hub", 3), "hub: no answer to any handshake; 3 waiting packets dropped"),
        (
            HandshakeUnanswered("hub", 5.2),
            "hub: no answer for 5 s, and nothing else was heard of it; asking on",
        ),
        (EndpointChanged("hub", None, NEW), "hub: reached at [2001:db8::1]:2"),
        (EndpointChanged("hub", OLD, NEW), "hub: moved from 192.0.2.1:1 to [2001:db8::1]:2"),
        (SessionErased("hub"), "hub: keys erased"),
    ],
)
def test_events_are_told_in_sentences(event: object, sentence: str) -> None:
    assert describe(event) == sentence  # type: ignore[arg-type]


def test_a_log_line_is_one_line_with_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    say("warning", "two\nlines")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning two lines\n", capsys.readouterr().err
    )


def test_the_service_manager_is_told_and_its_address_not_inherited(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "n"), "PATH": "/bin"}
        Notifier.from_environment(environment).tell(READY, DEVICE_GONE)
        assert manager.recv(64) == b"READY=1\nX_LTK_DEVICE=gone"
        assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nonexistent/socket"}])
def test_without_a_manager_telling_does_nothing(environment: dict[str, str]) -> None:
    Notifier.from_environment(environment).tell(READY)
