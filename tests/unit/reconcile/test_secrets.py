"""Secrets are found where the topology says, refused where others can read them, and never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ltk.errors import InvalidInputError
from ltk.protocol.primitives import encode_key, public_key_of
from ltk.reconcile.desired import desired
from ltk.reconcile.plan import Create, Remove, Update, plan
from ltk.reconcile.secrets import keyring, observed, psk_file
from ltk.topology.expanded import Topology

PSK = encode_key(b"\7" * 32)
PRIVATE = encode_key(b"\5" * 32)
YAML = """
name: t
network: {{subnet: 10.0.0.0/24, psk: {psk}}}
nodes:
  hub: {{role: server, private_key: {{file: hub.key}}}}
  alice: {{}}
lab: {{sites: {{cloud: {{hosts: [hub, alice]}}}}}}
"""


@pytest.fixture
def topology(
    parse: Callable[[str], Topology], folders: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Topology]:
    """`topology(psk)`: one whose hub's key is in a file, with that source of its pre-shared key."""
    monkeypatch.setenv("T_PSK", PSK)
    write(folders / "hub.key", PRIVATE)
    return lambda psk: parse(YAML.format(psk=psk))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(mode)
    return path


def text_of(found: object) -> str:
    return f"{found} {found!r}"


@pytest.mark.parametrize("psk", ["{env: T_PSK}", "{file: psk}", f"{{command: 'echo {PSK}'}}"])
def test_a_pre_shared_key_is_read_from_where_the_topology_says(
    psk: str, topology: Callable[[str], Topology], folders: Path
) -> None:
    write(folders / "psk", PSK)
    keys = keyring(topology(psk))
    assert {secret.path: secret.value for secret in keys.secrets}[str(psk_file("t"))] == PSK
    assert keys.psk_id


def test_a_private_key_of_the_topologys_own_is_used(topology: Callable[[str], Topology]) -> None:
    assert keyring(topology("{env: T_PSK}")).public["hub"] == encode_key(public_key_of(b"\5" * 32))


@pytest.mark.parametrize(
    ("psk", "words"),
    [
        ("{env: T_NOT_SET}", "T_NOT_SET is not set"),
        ("{env: T_NO_KEY}", "what $T_NO_KEY holds should be 44 characters"),
        ("{file: nowhere}", "there is no file"),
        ("{file: open}", "others than its owner"),
        ("{file: no-key}", "does not hold a key"),
        ("{command: 'exit 3'}", "failed with status 3"),
        ("{command: printf hunter%d 2}", "`printf hunter%d 2` prints should be 44 characters"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_without_being_told(
    psk: str,
    words: str,
    topology: Callable[[str], Topology],
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("T_NO_KEY", "hunter2")
    write(folders / "open", PSK, mode=0o640)
    write(folders / "no-key", "hunter2")
    with pytest.raises(InvalidInputError) as caught:
        keyring(topology(psk))
    assert words in str(caught.value)
    shown = f"{text_of(caught.value)} {caught.value.hint}"
    assert "hunter2" not in shown
    assert PSK not in shown


def test_no_secret_is_in_the_text_of_anything(topology: Callable[[str], Topology]) -> None:
    wanted = topology("{env: T_PSK}")
    keys = keyring(wanted)
    assert wanted.lab
    state = desired(wanted, wanted.lab, keys)
    secrets = [PSK, PRIVATE, *(secret.value for secret in keys.secrets)]
    assert len(set(secrets)) == 3, "the two above, and the one made for alice"
    shown = text_of(keys) + text_of(state)
    for resource in state.values():
        shown += text_of(resource)
        for operation in (Create(resource, "r"), Update(resource, resource, "r"), Remove(resource, "r")):
            shown += text_of(operation) + text_of(operation.inverse())
    for operation in plan(state, {}):
        shown += text_of(operation) + operation.reason
    assert len(shown) > 10_000
    assert not [secret for secret in secrets if secret in shown]


def test_a_file_that_others_can_read_does_not_count_as_being_there(tmp_path: Path) -> None:
    kept = write(tmp_path / "alice.key", PRIVATE)
    secret = observed(kept)
    assert secret
    assert secret.path == str(kept)
    kept.chmod(0o604)
    assert observed(kept) is None
