"""The keys of a topology: read from where they are kept, or made for a lab that has none.

Nothing is written here. A key that was made becomes a resource like any other, and applying it
writes the file; a plan that nobody applies leaves no key behind.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ltk.errors import InvalidInputError
from ltk.kernel import paths
from ltk.node.config import (
    SECRET_LIMIT,
    clean_secret,
    decode_key,
    fingerprint,
    read_key_file,
    read_private_file,
)
from ltk.protocol import primitives
from ltk.protocol.shared_secret import SharedSecret
from ltk.reconcile.resources import Secret
from ltk.topology.expanded import Node, Role, SecretSource, Topology

NOTHING_KNOWN: Mapping[str, Secret] = MappingProxyType({})
COMMAND_DEADLINE = 60.0  # seconds for a command that prints a secret; it may ask its owner something


@dataclass(frozen=True, slots=True)
class Keyring:
    """Every node's public key (base64), and the private and pre-shared ones as resources to be."""

    public: dict[str, str]
    secrets: tuple[Secret, ...] = field(repr=False)
    psk_id: str | None  # the pre-shared key's fingerprint


def keyring(topology: Topology, known: Mapping[str, Secret] = NOTHING_KNOWN) -> Keyring:
    """Collect the keys of all nodes of a lab; on a real host its own, and what the file says of the others.

    `known` are secrets by their paths that somebody still has, for files that have gone. Raises
    InvalidInputError for a secret that cannot be had, is no key, or lies open to others.
    """
    public: dict[str, str] = {}
    secrets = []
    shared = _shared_secret(topology)
    for node in topology.nodes:
        if node.role is Role.HOST:
            continue
        elsewhere = topology.here not in (None, node.name)
        if node.public_key and (elsewhere or node.role is Role.WIREGUARD):
            public[node.name] = node.public_key
            continue
        if elsewhere:
            public[node.name] = _public_key_elsewhere(topology, node, shared)
            continue
        private = _private_key(topology, node, shared, known)
        public[node.name] = primitives.encode_key(primitives.public_key_of(private))
        if topology.here is not None:
            _check_own(topology, node, public[node.name])
        secrets.append(_secret(paths.key_file(topology.name, node.name), private))
    psk_id = None
    preshared = None if shared is None else shared.preshared_key
    if topology.psk:
        kept = _kept(psk_file(topology.name), known) if _is_gone(topology, topology.psk) else None
        preshared = kept or _resolve(topology.psk, "the pre-shared key")
    if preshared is not None:
        psk_id = fingerprint(preshared)
        secrets.append(_secret(psk_file(topology.name), preshared))
    return Keyring(public, tuple(secrets), psk_id)


def psk_file(topology: str) -> Path:
    """Where the daemons find the network's pre-shared key."""
    return paths.state_folder(topology) / "network.psk"


def observed(path: Path) -> Secret | None:
    """The secret in a file as a resource; None where there is none, or none that ltk may use."""
    try:
        return Secret("", str(path), fingerprint(read_key_file(path)))
    except InvalidInputError:
        return None


def with_value(path: Path) -> Secret:
    """The secret in a file, with its value; raises InvalidInputError as of `read_key_file`."""
    return _secret(path, read_key_file(path))


def _secret(path: Path, key: bytes) -> Secret:
    return Secret("", str(path), fingerprint(key), primitives.encode_key(key))


def _public_key_elsewhere(topology: Topology, node: Node, shared: SharedSecret | None) -> str:
    """The key of a node on another machine of which the file says none: it follows from a shared secret."""
    if shared is not None and node.private_key is None:
        return primitives.encode_key(primitives.public_key_of(shared.private_key(node.addresses[0].ip)))
    hint = f"public_key: …; on that machine, `ltk keygen --for {topology.name}/{node.name}` prints it"
    problem = f"the file does not say the public key of {node.name}"
    raise InvalidInputError(f"applying {topology.name}", problem, hint=hint)


def _check_own(topology: Topology, node: Node, public_key: str) -> None:
    """The others go by the file: they would never answer a node with another key."""
    if node.public_key in (None, public_key):
        return
    kept = paths.key_file(topology.name, node.name)
    problem = f"the file says that its public key is {node.public_key}"
    if node.private_key is None and not kept.exists():
        problem, hint = f"{problem}, and the private key is not here", f"Put it into {kept} (mode 0600)."
    else:
        problem, hint = f"{problem}, but it is {public_key}", "Put this one into the file, for everybody."
    raise InvalidInputError(f"applying {topology.name} as {node.name}", problem, hint=hint)


def _is_gone(topology: Topology, source: SecretSource) -> bool:
    """Whether a real host does with what is kept: after a boot nobody's environment is there."""
    return topology.here is not None and source.kind == "env" and source.value not in os.environ


def _kept(path: Path, known: Mapping[str, Secret]) -> bytes | None:
    """The key that is kept in a file, or that somebody still knows of it; None where there is neither."""
    if path.exists():
        return read_key_file(path)
    lost = known.get(str(path))
    return None if lost is None else primitives.decode_key(lost.value)


def _private_key(
    topology: Topology, node: Node, shared: SharedSecret | None, known: Mapping[str, Secret]
) -> bytes:
    path = paths.key_file(topology.name, node.name)
    if node.private_key:
        kept = _kept(path, known) if _is_gone(topology, node.private_key) else None
        return kept or _resolve(node.private_key, f"the private key of {node.name}")
    if shared is not None:
        return shared.private_key(node.addresses[0].ip)
    return _kept(path, known) or primitives.private_key_from_random(os.urandom(primitives.KEY_SIZE))


def _shared_secret(topology: Topology) -> SharedSecret | None:
    """What all keys follow from that nobody has stated; None where nothing is said of a secret."""
    source, doing = topology.secret, "reading the network's secret"
    if source is None:
        return None
    match source.kind:
        case "file":
            content = read_private_file(Path(source.value), SECRET_LIMIT + 2, doing=f"{doing} {source.value}")
        case "env":
            hint = f"Put the secret into it, such as `ltk keygen` makes one: export {source.value}=…"
            text = os.environ.get(source.value)
            if text is None:
                problem = f"the environment variable {source.value} is not set"
                raise InvalidInputError(doing, problem, hint=hint)
            content = os.fsencode(text)
        case "command":
            content = os.fsencode(_output_of(source.value, doing))
    return SharedSecret(clean_secret(content, doing=doing), topology.subnets[0])


def _resolve(source: SecretSource, what: str) -> bytes:
    """The 32 bytes behind a source; what was read never becomes part of a message."""
    doing = f"reading {what}"
    if source.kind == "file":
        path = Path(source.value)
        if not path.exists():
            raise InvalidInputError(doing, f"there is no file {path}", hint=f"Make one: ltk keygen {path}")
        return read_key_file(path)
    if source.kind == "env":
        text = os.environ.get(source.value)
        if text is None:
            hint = f"Put a key into it, as `wg genpsk` or `ltk keygen` makes one: export {source.value}=…"
            raise InvalidInputError(doing, f"the environment variable {source.value} is not set", hint=hint)
    else:
        text = _output_of(source.value, doing)
    try:
        return decode_key(text.strip())
    except ValueError as error:
        hint = "`wg genpsk` or `ltk keygen` makes one."
        where = f"${source.value} holds" if source.kind == "env" else f"`{source.value}` prints"
        raise InvalidInputError(doing, f"what {where} {error}", hint=hint) from None


def _output_of(command: str, doing: str) -> str:
    try:
        done = subprocess.run(
            command, shell=True, stdout=subprocess.PIPE, text=True, timeout=COMMAND_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired:
        raise InvalidInputError(doing, f"`{command}` took longer than {COMMAND_DEADLINE:g} s") from None
    if done.returncode != 0:
        problem = f"`{command}` failed with status {done.returncode}"
        raise InvalidInputError(doing, problem, hint="Try it in a shell: it has to print a key.")
    return done.stdout
