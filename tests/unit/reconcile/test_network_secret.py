"""`network.secret`: every key that nobody has stated follows from it, on every machine the same."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from ltk.errors import InvalidInputError
from ltk.kernel import paths
from ltk.protocol.primitives import encode_key, public_key_of
from ltk.protocol.shared_secret import SharedSecret
from ltk.reconcile.secrets import keyring, psk_file
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology
from ltk.topology.render import render

SECRET = "correct horse battery staple"
OWN = encode_key(b"\5" * 32)
STOCK = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
YAML = """
name: t
network: {{subnet: [10.0.0.0/24, "fd00::/64"], {network}}}
nodes:
  hub: {{role: server, address: 10.0.0.1}}
  alice: {{address: 10.0.0.2}}
  bob: {{address: 10.0.0.3, private_key: {{env: T_OWN}}}}
  phone: {{role: wireguard, public_key: {stock}}}
  tablet: {{role: wireguard, address: 10.0.0.9}}
lab: {{sites: {{cloud: {{hosts: [hub, alice, bob, phone, tablet]}}}}}}
"""


@pytest.fixture
def topology(
    parse: Callable[[str], Topology], folders: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Topology]:
    """`topology(network)`: with these words in its `network`; T_SECRET and T_OWN hold a secret and a key."""
    monkeypatch.setenv("T_SECRET", SECRET)
    monkeypatch.setenv("T_OWN", OWN)
    return lambda network: parse(YAML.format(network=network, stock=STOCK))


def public(address: str, secret: str = SECRET) -> str:
    network = SharedSecret(secret.encode(), ip_network("10.0.0.0/24"))
    return encode_key(public_key_of(network.private_key(ip_address(address))))


def test_who_has_no_key_gets_the_one_of_its_address(topology: Callable[[str], Topology]) -> None:
    keys = keyring(topology("secret: {env: T_SECRET}"))
    assert keys.public == {
        "hub": public("10.0.0.1"),
        "alice": public("10.0.0.2"),
        "bob": encode_key(public_key_of(b"\5" * 32)),
        "phone": STOCK,
        "tablet": public("10.0.0.9"),
    }
    written = {Path(secret.path).name: secret.value for secret in keys.secrets}
    assert encode_key(public_key_of(_decoded(written["alice.key"]))) == public("10.0.0.2")


def _decoded(text: str | None) -> bytes:
    from ltk.node.config import decode_key

    assert text is not None
    return decode_key(text)


def test_the_pre_shared_key_follows_too_unless_one_is_stated(topology: Callable[[str], Topology]) -> None:
    def preshared(network: str) -> str | None:
        return {s.path: s.value for s in keyring(topology(network)).secrets}[str(psk_file("t"))]

    derived = SharedSecret(SECRET.encode(), ip_network("10.0.0.0/24")).preshared_key
    assert preshared("secret: {env: T_SECRET}") == encode_key(derived)
    assert preshared("secret: {env: T_SECRET}, psk: {env: T_OWN}") == OWN


@pytest.mark.parametrize("source", ["{env: T_SECRET}", "{file: secret}", f"{{command: echo {SECRET}}}"])
def test_a_secret_is_read_from_where_the_topology_says(
    source: str, topology: Callable[[str], Topology], folders: Path
) -> None:
    (folders / "secret").write_text(f"{SECRET}\n")
    (folders / "secret").chmod(0o600)
    assert keyring(topology(f"secret: {source}")).public["hub"] == public("10.0.0.1")


def test_a_key_that_was_made_before_gives_way(topology: Callable[[str], Topology]) -> None:
    kept = paths.key_file("t", "alice")
    kept.parent.mkdir(parents=True)
    kept.write_text(f"{OWN}\n")
    kept.chmod(0o600)
    assert keyring(topology("mtu: 1380")).public["alice"] == encode_key(public_key_of(b"\5" * 32))
    assert keyring(topology("secret: {env: T_SECRET}")).public["alice"] == public("10.0.0.2")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{env: T_ABSENT}", ["T_ABSENT", "not set"]),
        ("{file: open}", ["open", "mode 0644"]),
        ("{file: absent}", ["absent", "No such file"]),
        ("{file: empty}", ["it is empty"]),
        ("{file: huge}", ["more than 4096 bytes"]),
        ("{command: 'false'}", ["false", "status 1"]),
    ],
)
def test_a_secret_that_cannot_be_had_is_told_and_never_shown(
    source: str, words: list[str], topology: Callable[[str], Topology], folders: Path
) -> None:
    for name, text, mode in (("open", SECRET, 0o644), ("empty", " \n", 0o600), ("huge", "x" * 5000, 0o600)):
        (folders / name).write_text(text)
        (folders / name).chmod(mode)
    with pytest.raises(InvalidInputError) as told:
        keyring(topology(f"secret: {source}"))
    assert all(word in str(told.value) for word in words), str(told.value)
    assert SECRET not in str(told.value)


def test_a_secret_in_clear_is_refused_and_not_repeated(topology: Callable[[str], Topology]) -> None:
    with pytest.raises(InvalidInputError) as told:
        topology("secret: hunter2hunter2")
    assert "hunter2" not in str(told.value)
    assert "network.secret" in str(told.value)


def test_where_the_secret_is_survives_rendering(topology: Callable[[str], Topology], folders: Path) -> None:
    expanded = topology("secret: {file: secret}")
    text = render(expanded)
    assert parse_topology(text.encode(), file="r.yaml", folder=folders) == expanded
    assert str(folders / "secret") in text
