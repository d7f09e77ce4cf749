"""The configuration of one node's daemon: a JSON document, strictly read.

What the reconciler writes with `to_json` is what the daemon reads with `load`; the same document
travels in the control socket's `configure` request. No secret is in it, only the files that hold them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import TypeVar

from ltk.errors import InvalidInputError
from ltk.protocol.config import HardNat, P2p, PathPolicy, TransportMode

VERSION = 1
KEY_SIZE = 32  # bytes; Curve25519 points and scalars, pre-shared keys
KEY_TEXT_SIZE = 44  # characters of base64 for KEY_SIZE bytes, as `wg genkey` writes them
SECRET_LIMIT = 4096  # bytes; of a shared secret, of which any will do
MTU_LIMITS = (576, 65535)  # bytes; RFC 791 section 3.2, and the largest IP packet
MARK_LIMIT = (1 << 32) - 1
KEEPALIVE_LIMIT = 65535  # seconds, as wg(8) has it
PEERS_REMEMBERED = 1 << 14  # by one reader; about 1 KB each

T = TypeVar("T")


class Role(StrEnum):
    """What a node is to the others."""

    SERVER = "server"
    CLIENT = "client"
    WIREGUARD = "wireguard"


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer of the node.

    `public_key` is base64 as `wg` writes it; `endpoint` is "host:port" or "[v6]:port", where host may
    be a name; `keepalive` is in seconds, 0 for none. `p2p`, `hard_nat` and
    `path` count between clients only.
    """

    name: str
    role: Role
    public_key: str
    preshared_key_file: Path | None
    endpoint: str | None
    allowed_ips: tuple[IPv4Network | IPv6Network, ...]
    keepalive: int
    p2p: P2p = P2p.ON_DEMAND
    hard_nat: HardNat = HardNat.BIRTHDAY
    path: PathPolicy = PathPolicy.AUTO

    def to_json(self) -> dict[str, object]:
        """The JSON value that `DaemonConfig.from_json` reads back to an equal object."""
        return {
            "name": self.name,
            "role": self.role.value,
            "public_key": self.public_key,
            "preshared_key_file": None if self.preshared_key_file is None else str(self.preshared_key_file),
            "endpoint": self.endpoint,
            "allowed_ips": [str(network) for network in self.allowed_ips],
            "keepalive": self.keepalive,
            "p2p": self.p2p.value,
            "hard_nat": self.hard_nat.value,
            "path": self.path.value,
        }


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """All that a daemon is told. `listen` is a UDP port, 0 for any; `mtu` is the tunnel's, in bytes.

    `metrics` is "address:port" or "[v6]:port", where they are served over HTTP; None: nowhere. `mark` is
    the firewall mark on all that it sends to peers (SO_MARK of socket(7)), 0 for none. `transport` is how a
    client reaches its server, and whether a server can be reached over TCP: not with `udp`.
    """

    topology: str
    node: str
    role: Role
    device: str
    mtu: int
    listen: int
    isolation: bool
    private_key_file: Path
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    control: Path
    peers: tuple[PeerSettings, ...]
    metrics: str | None = None
    mark: int = 0
    transport: TransportMode = TransportMode.AUTO

    @property
    def listens_on_tcp(self) -> bool:
        """Whether streams are accepted, at the port of the UDP socket."""
        return self.role is Role.SERVER and self.transport is not TransportMode.UDP

    def to_json(self) -> dict[str, object]:
        """The JSON value that `from_json` reads back to an equal object."""
        return {
            "version": VERSION,
            "topology": self.topology,
            "node": self.node,
            "role": self.role.value,
            "device": self.device,
            "mtu": self.mtu,
            "listen": self.listen,
            "isolation": self.isolation,
            "private_key_file": str(self.private_key_file),
            "addresses": [str(address) for address in self.addresses],
            "control": str(self.control),
            "metrics": self.metrics,
            "mark": self.mark,
            "transport": self.transport.value,
            "peers": [peer.to_json() for peer in self.peers],
        }

    @classmethod
    def from_json(
        cls,
        value: object,
        *,
        doing: str = "reading the configuration",
        known: dict[str, PeerSettings] | None = None,
    ) -> DaemonConfig:
        """Read a parsed JSON document; `doing` begins every message.

        `known` are peers that have been read before, by the `repr` of their values, and gets those of this.
        Raises InvalidInputError for whatever is missing, unknown, of the wrong type or out of range,
        and for two peers with one name or one key.
        """
        fields = _Fields(value, "", doing)
        if (version := fields.whole("version", 0, 1 << 31)) != VERSION:
            raise fields.wrong("version", f"this ltk reads version {VERSION}, not {version}")
        config = cls(
            topology=fields.text("topology"),
            node=fields.text("node"),
            role=fields.parsed("role", Role, "one of " + ", ".join(Role)),
            device=fields.text("device"),
            mtu=fields.whole("mtu", *MTU_LIMITS),
            listen=fields.whole("listen", 0, 65535),
            isolation=fields.truth("isolation"),
            private_key_file=Path(fields.text("private_key_file")),
            addresses=fields.parsed_list("addresses", ip_interface, "an address with its prefix length"),
            control=Path(fields.text("control")),
            metrics=fields.listener_or_none("metrics"),
            mark=fields.whole_or("mark", 0, MARK_LIMIT, 0),
            transport=fields.parsed_or(
                "transport", TransportMode, "one of " + ", ".join(TransportMode), TransportMode.AUTO
            ),
            peers=_peers(fields.items("peers"), doing, known),
        )
        fields.nothing_else()
        for what, values in (
            ("name", [peer.name for peer in config.peers]),
            ("public_key", [peer.public_key for peer in config.peers]),
        ):
            if twice := _first_repeated(values):
                raise fields.wrong("peers", f"two peers have the same {what}, {twice}")
        return config


@dataclass(frozen=True, slots=True)
class Told:
    """A configuration and the text that said it."""

    config: DaemonConfig
    text: str


class Reader:
    """Reads the files of configurations. A peer that several of them name in the same words is read once."""

    def __init__(self) -> None:
        self._peers: dict[str, PeerSettings] = {}

    def read(self, path: Path) -> Told:
        """What the file `path` says; raises InvalidInputError when it cannot be had or is wrong."""
        doing = f"reading the configuration {path}"
        try:
            text = path.read_text(encoding="utf-8")
            value: object = json.loads(text)
        except OSError as error:
            raise InvalidInputError(doing, error.strerror or str(error)) from None
        except (ValueError, RecursionError) as error:  # neither UTF-8 nor JSON
            hint = "It is what `ltk apply` has written; a topology is brought up with: ltk apply FILE"
            raise InvalidInputError(doing, f"it is not JSON: {error}", hint=hint) from None
        if len(self._peers) > PEERS_REMEMBERED:
            self._peers.clear()
        try:
            return Told(DaemonConfig.from_json(value, doing=doing, known=self._peers), text.strip())
        except RecursionError:
            raise InvalidInputError(doing, "it is nested too deeply") from None


def load(path: Path) -> DaemonConfig:
    """The configuration in the file `path`; raises InvalidInputError when it cannot be had or is wrong."""
    return Reader().read(path).config


def split_endpoint(text: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port"; raises ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or (":" in host) is not bracketed:
        raise ValueError("should be host:port, or [address]:port for IPv6")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError("should end in a port from 1 to 65535")
    return host, int(port)


def decode_key(text: str) -> bytes:
    """The 32 bytes of a key as `wg` writes it; raises ValueError for anything else."""
    if len(text) != KEY_TEXT_SIZE:
        raise ValueError(f"should be {KEY_TEXT_SIZE} characters of base64")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("should be base64") from None
    if len(key) != KEY_SIZE:
        raise ValueError(f"should be {KEY_SIZE} bytes in base64")
    return key


@lru_cache(maxsize=PEERS_REMEMBERED)
def public_key_bytes(text: str) -> bytes:
    """The same of a public key, which may be remembered: all who are told of a peer read it."""
    return decode_key(text)


def encode_key(key: bytes) -> str:
    """A key as `wg` writes it: 44 characters of base64."""
    return base64.b64encode(key).decode("ascii")


def read_private_file(path: Path, limit: int, *, doing: str) -> bytes:
    """What is in a file that nobody but its owner may use, up to `limit` bytes.

    Raises InvalidInputError where it cannot be read, or is open to others.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(limit)
    except OSError as error:
        hint = f"Make one: ltk keygen {path}" if isinstance(error, FileNotFoundError) else None
        raise InvalidInputError(doing, error.strerror or str(error), hint=hint) from None
    if mode & 0o077:
        raise InvalidInputError(
            doing, f"others than its owner can use it (mode {mode:04o})", hint=f"chmod 600 {path}"
        )
    return content


def read_key_file(path: Path) -> bytes:
    """The 32 bytes of the private or pre-shared key in `path`.

    Raises InvalidInputError where the file is missing, is no key, or is open to others than its owner.
    The message never holds what the file holds.
    """
    doing = f"reading the key file {path}"
    content = read_private_file(path, KEY_TEXT_SIZE * 2, doing=doing)
    try:
        return decode_key(content.decode("ascii").strip())
    except ValueError:
        raise InvalidInputError(
            doing,
            f"it does not hold a key ({KEY_TEXT_SIZE} characters of base64)",
            hint="`wg genkey` makes one.",
        ) from None


def clean_secret(content: bytes, *, doing: str) -> bytes:
    """A shared secret without the space around it, such as a file's last line break.

    Raises InvalidInputError where nothing is left, or more than SECRET_LIMIT bytes. It never shows.
    """
    secret = content.strip()
    if not secret:
        raise InvalidInputError(doing, "it is empty", hint="`ltk keygen FILE` makes a good one.")
    if len(secret) > SECRET_LIMIT:
        raise InvalidInputError(doing, f"it has more than {SECRET_LIMIT} bytes", hint="Is it the right file?")
    return secret


def fingerprint(key: bytes) -> str:
    """Eight hexadecimal digits that change when the secret `key` does and do not help to find it."""
    return hashlib.blake2s(key, person=b"ltk-psk").hexdigest()[:8]


def _peers(
    entries: list[object], doing: str, known: dict[str, PeerSettings] | None
) -> tuple[PeerSettings, ...]:
    if known is None:
        known = {}
    peers = []
    for index, entry in enumerate(entries):
        said = repr(entry)
        if (peer := known.get(said)) is None:
            peer = known[said] = _peer(_Fields(entry, f"peers[{index}]", doing))
        peers.append(peer)
    return tuple(peers)


def _peer(fields: _Fields) -> PeerSettings:
    psk_file = fields.text_or_null("preshared_key_file")
    endpoint = fields.text_or_null("endpoint")
    if endpoint is not None:
        try:
            split_endpoint(endpoint)
        except ValueError as error:
            raise fields.wrong("endpoint", f"{error}, is {endpoint!r}") from None
    public_key = fields.text("public_key")
    try:
        public_key_bytes(public_key)
    except ValueError as error:
        raise fields.wrong("public_key", f"{error}, is {public_key!r}") from None
    peer = PeerSettings(
        name=fields.text("name"),
        role=fields.parsed("role", Role, "one of " + ", ".join(Role)),
        public_key=public_key,
        preshared_key_file=None if psk_file is None else Path(psk_file),
        endpoint=endpoint,
        allowed_ips=fields.parsed_list("allowed_ips", ip_network, "a network, such as 10.0.0.0/24"),
        keepalive=fields.whole("keepalive", 0, KEEPALIVE_LIMIT),
        p2p=fields.parsed_or("p2p", P2p, "one of " + ", ".join(P2p), P2p.ON_DEMAND),
        hard_nat=fields.parsed_or("hard_nat", HardNat, "one of " + ", ".join(HardNat), HardNat.BIRTHDAY),
        path=fields.parsed_or("path", PathPolicy, "one of " + ", ".join(PathPolicy), PathPolicy.AUTO),
    )
    fields.nothing_else()
    return peer


def _listener(text: str) -> str:
    ip_address(split_endpoint(text)[0])
    return text


def _first_repeated(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


class _Fields:
    """A JSON object whose members are taken one by one, each with its type."""

    def __init__(self, value: object, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing
        if not isinstance(value, dict):
            raise self.wrong("", f"should be an object, is {_kind(value)}")
        self._left = dict(value)

    def wrong(self, key: str, problem: str) -> InvalidInputError:
        where = ".".join(part for part in (self._path, key) if part)
        return InvalidInputError(self._doing, f"{where}: {problem}" if where else problem)

    def nothing_else(self) -> None:
        """Refuse what has not been taken."""
        if self._left:
            raise self.wrong(next(iter(self._left)), "unknown key")

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.wrong(key, f"should be a text, is {_kind(value)}")
        return value

    def text_or_null(self, key: str) -> str | None:
        if key in self._left and self._left[key] is None:
            del self._left[key]
            return None
        return self.text(key)

    def listener_or_none(self, key: str) -> str | None:
        if self._left.get(key) is None:
            self._left.pop(key, None)
            return None
        return self.parsed(key, _listener, "an IP address and a port, such as 127.0.0.1:9586")

    def whole(self, key: str, lowest: int, highest: int) -> int:
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, f"should be a whole number, is {_kind(value)}")
        if not lowest <= value <= highest:
            raise self.wrong(key, f"should be from {lowest} to {highest}, is {value}")
        return value

    def whole_or(self, key: str, lowest: int, highest: int, default: int) -> int:
        return self.whole(key, lowest, highest) if key in self._left else default

    def truth(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise self.wrong(key, f"should be true or false, is {_kind(value)}")
        return value

    def items(self, key: str) -> list[object]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self.wrong(key, f"should be a list, is {_kind(value)}")
        return value

    def parsed(self, key: str, parse: Callable[[str], T], wanted: str) -> T:
        return self._parse(key, self.text(key), parse, wanted)

    def parsed_or(self, key: str, parse: Callable[[str], T], wanted: str, default: T) -> T:
        return self.parsed(key, parse, wanted) if key in self._left else default

    def parsed_list(self, key: str, parse: Callable[[str], T], wanted: str) -> tuple[T, ...]:
        return tuple(
            self._parse(f"{key}[{index}]", value, parse, wanted)
            for index, value in enumerate(self.items(key))
        )

    def _parse(self, key: str, value: object, parse: Callable[[str], T], wanted: str) -> T:
        if not isinstance(value, str):
            raise self.wrong(key, f"should be {wanted}, is {_kind(value)}")
        try:
            return parse(value)
        except ValueError:
            raise self.wrong(key, f"should be {wanted}, is {value!r}") from None

    def _take(self, key: str) -> object:
        if key not in self._left:
            raise self.wrong(key, "missing")
        return self._left.pop(key)


def _kind(value: object) -> str:
    """What `value` is, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case "":
            return "empty"
        case str():
            return f"the text {value[:40]!r}"
        case list():
            return "a list"
        case _:
            return "an object"
