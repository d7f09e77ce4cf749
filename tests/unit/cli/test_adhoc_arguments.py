"""`ltk serve` and `ltk join`: what is typed becomes a node, or an error that says what to type instead."""

from __future__ import annotations

import io
import sys
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from commandline import Ltk

from ltk.node import adhoc
from ltk.node.adhoc import Server, Settings
from ltk.protocol.config import P2p

SECRET = "correct horse battery staple"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The nodes that would have run."""
    nodes: list[Settings] = []
    monkeypatch.setattr(adhoc, "run", lambda settings, _say: nodes.append(settings))
    monkeypatch.delenv("LTK_SECRET", raising=False)
    return nodes


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a secret."""
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def test_the_commands_of_the_interface_become_nodes(ltk: Ltk, started: list[Settings], key: Path) -> None:
    words = ("--listen", "0.0.0.0:9000", "--address", "10.0.0.1/24", "--secret-file", key)
    assert ltk("serve", *words).status == 0
    words = ("--address", "10.0.0.2/24", "--secret-file", key, "--no-p2p")
    assert ltk("join", "hub.example.net:9000", *words).status == 0
    server, client = started
    assert (server.listen_host, server.listen, server.server) == ("0.0.0.0", 9000, None)
    assert server.address == ip_interface("10.0.0.1/24")
    assert client.server == Server("hub.example.net:9000", ip_address("10.0.0.1"))
    assert (client.p2p, client.listen, client.device, client.mtu) == (P2p.OFF, 0, None, 1380)
    assert {node.secret for node in started} == {SECRET.encode()}
    assert SECRET not in repr(started)


def test_the_server_says_what_its_clients_type(ltk: Ltk, started: list[Settings], key: Path) -> None:
    said = ltk("serve", "--address", "10.0.0.1/24", "--secret-file", key)
    assert said.out.strip().endswith("ltk join HOST:9000 --address ADDRESS/24 --secret-file FILE")
    said = ltk("serve", "--address", "10.0.0.9/24", "--listen", "9001", "--secret-file", key)
    line = "ltk join HOST:9001 --address ADDRESS/24 --server-address 10.0.0.9 --secret-file FILE"
    assert said.out.strip().endswith(line)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("198.51.100.7", "198.51.100.7:9000"),
        ("198.51.100.7:77", "198.51.100.7:77"),
        ("2001:db8::7", "[2001:db8::7]:9000"),
        ("[2001:db8::7]", "[2001:db8::7]:9000"),
        ("[2001:db8::7]:77", "[2001:db8::7]:77"),
        ("hub.example.net", "hub.example.net:9000"),
    ],
)
def test_a_server_may_be_typed_without_its_port(
    typed: str, meant: str, ltk: Ltk, started: list[Settings], key: Path
) -> None:
    assert ltk("join", typed, "--address", "fd00::2/120", "--secret-file", key).status == 0
    assert started[0].server == Server(meant, ip_address("fd00::1"))


def test_a_secret_comes_from_the_environment_or_standard_input(
    ltk: Ltk, started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTK_SECRET", SECRET)
    assert ltk("serve", "--address", "10.0.0.1/24").status == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"another one, typed\n")))
    assert ltk("serve", "--address", "10.0.0.1/24", "--secret-file", "-").status == 0
    assert [node.secret for node in started] == [SECRET.encode(), b"another one, typed"]


def test_a_short_secret_is_warned_of(ltk: Ltk, started: list[Settings], key: Path) -> None:
    key.write_text("hunter2")
    said = ltk("serve", "--address", "10.0.0.1/24", "--secret-file", key)
    assert said.status == 0
    assert "7 bytes only" in said.err
    assert "hunter2" not in said.err + said.out
    assert len(started) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--secret-file", "key"], ["--address"]),
        (["serve", "--address", "10.0.0.1/24"], ["--secret-file", "LTK_SECRET", "ltk keygen"]),
        (["serve", "--address", "10.0.0.1/24", "--secret-file", "absent"], ["absent", "ltk keygen absent"]),
        (["serve", "--address", "10.0.0.1/24", "--secret-file", "open"], ["mode 0644", "chmod 600"]),
        (["serve", "--address", "10.0.0.1/24", "--secret-file", "empty"], ["empty"]),
        (["serve", "--address", "10.0.0.1", "--secret-file", "key"], ["in which subnet", "10.0.0.1/24"]),
        (["serve", "--address", "somewhere", "--secret-file", "key"], ["somewhere", "10.0.0.2/24"]),
        (["serve", "--address", "10.0.0.1/16", "--secret-file", "key"], ["larger than a /20"]),
        (["serve", "--address", "fd00::1/64", "--secret-file", "key"], ["larger than a /116"]),
        (["serve", "--address", "10.0.0.0/24", "--secret-file", "key"], ["first or last"]),
        (["serve", "--address", "10.0.0.255/24", "--secret-file", "key"], ["first or last"]),
        (["serve", "--address", "10.0.0.1/24", "--listen", "here:1", "--secret-file", "key"], ["here"]),
        (["serve", "--address", "10.0.0.1/24", "--listen", "0", "--secret-file", "key"], ["port"]),
        (["serve", "--address", "10.0.0.1/24", "--device", "a/b", "--secret-file", "key"], ["a/b"]),
        (["serve", "--address", "10.0.0.1/24", "--mtu", "9", "--secret-file", "key"], ["576"]),
        (["join", "--address", "10.0.0.2/24", "--secret-file", "key"], ["SERVER"]),
        (["join", "hub:0", "--address", "10.0.0.2/24", "--secret-file", "key"], ["hub:0", "port"]),
        (["join", "hub", "--address", "10.0.0.1/24", "--secret-file", "key"], ["the server's own"]),
        (
            [
                "join",
                "hub",
                "--address",
                "10.0.0.2/24",
                "--server-address",
                "10.0.1.1",
                "--secret-file",
                "key",
            ],
            ["10.0.1.1", "10.0.0.0/24"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0] in ("serve", "join") else None,
)
def test_what_cannot_be_meant_is_told_with_what_to_do(
    words: list[str],
    said: list[str],
    ltk: Ltk,
    started: list[Settings],
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text, mode in (("open", SECRET, 0o644), ("empty", "\n", 0o600)):
        (key.parent / name).write_text(text)
        (key.parent / name).chmod(mode)
    monkeypatch.chdir(key.parent)
    answer = ltk(*words)
    assert answer.status == 3
    assert all(word in answer.err for word in said), answer.err
    assert SECRET not in answer.err
    assert started == []
