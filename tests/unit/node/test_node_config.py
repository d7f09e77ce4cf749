from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.errors import InvalidInputError
from ltk.node import config as configuration
from ltk.node.config import DaemonConfig, decode_key, encode_key, fingerprint, read_key_file, split_endpoint

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(32)).decode()
PEER: dict[str, Any] = {
    "name": "hub",
    "role": "server",
    "public_key": KEY,
    "preshared_key_file": None,
    "endpoint": "203.0.113.2:9000",
    "allowed_ips": ["10.0.0.0/24", "fd00::/64"],
    "keepalive": 20,
    "p2p": "on-demand",
    "hard_nat": "birthday",
    "path": "auto",
}
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "topology": "quickstart",
    "node": "alice",
    "role": "client",
    "device": "ltk0",
    "mtu": 1380,
    "listen": 0,
    "isolation": False,
    "private_key_file": "/var/lib/ltk/quickstart/alice.key",
    "addresses": ["10.0.0.2/24"],
    "control": "/run/ltk/quickstart/alice.sock",
    "metrics": None,
    "mark": 0,
    "transport": "auto",
    "peers": [PEER],
}


def test_what_is_written_is_read_back_equal() -> None:
    config = DaemonConfig.from_json(DOCUMENT)
    assert config.to_json() == DOCUMENT
    assert DaemonConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_document_without_the_later_keys_means_their_defaults() -> None:
    older = copy.deepcopy(DOCUMENT)
    for key in ("p2p", "hard_nat", "path"):
        del older["peers"][0][key]
    del older["metrics"], older["transport"]
    assert DaemonConfig.from_json(older) == DaemonConfig.from_json(DOCUMENT)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("mtu"), "mtu: missing"),
        (lambda d: d.update(mtv=1), "mtv: unknown key"),
        (lambda d: d.update(version=2), "version: this ltk reads version 1, not 2"),
        (lambda d: d.update(mtu="1380"), "mtu: should be a whole number, is the text '1380'"),
        (lambda d: d.update(mtu=True), "mtu: should be a whole number, is true"),
        (lambda d: d.update(mtu=100), "mtu: should be from 576 to 65535, is 100"),
        (lambda d: d.update(listen=65536), "listen: should be from 0 to 65535"),
        (lambda d: d.update(metrics="localhost:9586"), "metrics: should be an IP address and a port"),
        (lambda d: d.update(metrics="127.0.0.1"), "metrics: should be an IP address and a port"),
        (lambda d: d.update(metrics=9586), "metrics: should be a text, is the number 9586"),
        (lambda d: d.update(isolation=0), "isolation: should be true or false, is the number 0"),
        (lambda d: d.update(role="hub"), "role: should be one of server, client, wireguard, is 'hub'"),
        (lambda d: d.update(node=""), "node: should be a text, is empty"),
        (lambda d: d.update(peers={}), "peers: should be a list, is an object"),
        (lambda d: d.update(peers=[7]), "peers[0]: should be an object, is the number 7"),
        (
            lambda d: d.update(addresses=["10.0.0.300/24"]),
            "addresses[0]: should be an address with its prefix",
        ),
        (
            lambda d: d["peers"][0].update(allowed_ips=["10.0.0.1/24"]),
            "peers[0].allowed_ips[0]: should be a network",
        ),
        (lambda d: d["peers"][0].update(endpoint="hub"), "peers[0].endpoint: should be host:port"),
        (lambda d: d["peers"][0].update(endpoint="hub:0"), "peers[0].endpoint: should end in a port"),
        (lambda d: d["peers"][0].update(public_key="short"), "peers[0].public_key: should be 44 characters"),
        (lambda d: d["peers"][0].update(keepalive=-1), "peers[0].keepalive: should be from 0"),
        (lambda d: d["peers"].append({**PEER, "public_key": OTHER_KEY}), "two peers have the same name, hub"),
        (lambda d: d["peers"].append({**PEER, "name": "b"}), f"two peers have the same public_key, {KEY}"),
    ],
)
def test_each_mistake_is_named_with_its_place(change: Change, message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(InvalidInputError) as caught:
        DaemonConfig.from_json(document)
    assert message in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(DOCUMENT)), JSON)
def test_no_value_anywhere_raises_anything_but_invalid_input(key: str, value: object) -> None:
    try:
        config = DaemonConfig.from_json({**DOCUMENT, key: value})
    except InvalidInputError:
        return
    assert DaemonConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.2:9000", ("203.0.113.2", 9000)),
        ("[2001:db8::1]:9", ("2001:db8::1", 9)),
        ("hub.example:1", ("hub.example", 1)),
    ],
)
def test_endpoints_are_split(text: str, expected: tuple[str, int]) -> None:
    assert split_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", ":1", "a:", "a:b", "a:65536", "2001:db8::1:9", "[a]:1", "[]:1", "a:²"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should"):
        split_endpoint(text)


def test_a_private_key_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    assert read_key_file(file) == bytes(range(32))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(mode)
    with pytest.raises(InvalidInputError, match="others than its owner can use it") as caught:
        read_key_file(file)
    assert caught.value.hint == f"chmod 600 {file}"


@pytest.mark.parametrize("content", [b"", b"hunter2", KEY.encode() + b"AAAA", b"\xff" * 44])
def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(InvalidInputError, match="does not hold a key") as caught:
        read_key_file(file)
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="key: No such file"):
        read_key_file(tmp_path / "key")


def test_a_configuration_that_is_not_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    for content in (b"{", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"c\.json: it is not JSON"):
            configuration.load(file)


def test_a_peer_that_two_files_name_in_the_same_words_is_read_once(tmp_path: Path) -> None:
    reader = configuration.Reader()
    spoke = {**PEER, "name": "spoke", "role": "client", "public_key": OTHER_KEY, "keepalive": 0}
    told = []
    for name, peers in (("alice", [PEER, spoke]), ("bob", [spoke, {**PEER, "keepalive": True}])):
        file = tmp_path / name
        file.write_text(json.dumps({**DOCUMENT, "node": name, "peers": peers}) + "\n")
        if name == "alice":
            told.append(reader.read(file))
            assert told[0].config == DaemonConfig.from_json(json.loads(told[0].text))
    with pytest.raises(InvalidInputError, match=r"bob: peers\[1\]\.keepalive: should be a whole number"):
        reader.read(file)
    file.write_text(json.dumps({**DOCUMENT, "node": "bob", "peers": [spoke, PEER]}))
    other = reader.read(file).config
    assert [peer.name for peer in other.peers] == ["spoke", "hub"]
    assert other.peers[0] is told[0].config.peers[1]


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_configuration_of_any_depth_is_refused_and_nothing_more(tmp_path: Path, depth: int) -> None:
    file = tmp_path / "c.json"
    nested = '{"a": ' * depth + "1" + "}" * depth
    file.write_text(json.dumps({**DOCUMENT, "peers": ["HERE"]}).replace('"HERE"', nested))
    with pytest.raises(InvalidInputError, match=r"reading the configuration .*c\.json"):
        configuration.Reader().read(file)


def test_a_fingerprint_tells_secrets_apart_and_is_not_part_of_them() -> None:
    one, other = fingerprint(bytes(32)), fingerprint(bytes(31) + b"\1")
    assert one != other
    assert len(one) == 8
    assert bytes.fromhex(one) not in bytes(32)


@given(st.binary(min_size=32, max_size=32))
def test_keys_go_there_and_back(key: bytes) -> None:
    assert decode_key(encode_key(key)) == key
