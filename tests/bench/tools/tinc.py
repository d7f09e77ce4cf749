"""tinc 1.0 in router mode, with its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from places import LEFT_INSIDE, RIGHT_INSIDE, Place, Underlay

from tools.tool import Pair, Tool

DEVICE = "tinc0"
KEY_BITS = 2048  # what `tincd -K` makes


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    sides = {"left": (net.left, LEFT_INSIDE), "right": (net.right, RIGHT_INSIDE)}
    hosts = {side: _make_key(folder / side, place, inside) for side, (place, inside) in sides.items()}
    for side in sides:
        _configure(folder / side, side, hosts)
    with (
        net.left.running(*_words(folder / "left"), log=folder / "left.log") as left,
        net.right.running(*_words(folder / "right"), log=folder / "right.log") as right,
    ):
        for place, inside in sides.values():
            place.adopt_device(DEVICE, inside)
        yield Pair(net.left, net.right, RIGHT_INSIDE, {"left": [left.pid], "right": [right.pid]})


def _make_key(folder: Path, place: Place, inside: str) -> str:
    """Make a node's folder and key; return its host file."""
    (folder / "hosts").mkdir(parents=True)
    key = rsa.generate_private_key(65537, KEY_BITS)
    pem = serialization.Encoding.PEM
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    file = folder / "rsa_key.priv"
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.PKCS1)
    return f"Address = {place.address}\nSubnet = {inside}/32\n{public.decode()}"


def _configure(folder: Path, side: str, hosts: dict[str, str]) -> None:
    other = next(each for each in hosts if each != side)
    lines = [f"Name = {side}", f"ConnectTo = {other}", f"Interface = {DEVICE}", "DeviceType = tun"]
    (folder / "tinc.conf").write_text("\n".join(lines))
    for name, text in hosts.items():
        (folder / "hosts" / name).write_text(text)


def _words(folder: Path) -> list[str]:
    return ["tincd", "-D", "-d1", "-c", str(folder), f"--pidfile={folder / 'pid'}"]


TOOL = Tool("tinc", "AES-256-CBC and HMAC-SHA256", {"tincd": "tinc"}, ("tincd", "--version"), _up)
