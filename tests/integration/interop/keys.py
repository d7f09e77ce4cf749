"""Keys in files, made by `wg`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class KeyFile(NamedTuple):
    """A private key's file, and the public key in base64."""

    path: Path
    public: str


def make_key(path: Path) -> KeyFile:
    """Make a private key in `path`."""
    return public_key_in(_write(path, _wg("genkey")))


def public_key_in(path: Path) -> KeyFile:
    """The public key of the private key in `path`."""
    return KeyFile(path, _wg("pubkey", path.read_text()).strip())


def make_psk(path: Path) -> Path:
    """Make a pre-shared key in `path`."""
    return _write(path, _wg("genpsk"))


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _wg(verb: str, given: str | None = None) -> str:
    return subprocess.run(
        ["wg", verb], input=given, capture_output=True, text=True, check=True, timeout=10
    ).stdout
