"""OpenVPN over UDP between two points, with TLS and its default cipher; in user space, as Debian has it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from places import LEFT_INSIDE, MTU, RIGHT_INSIDE, Underlay, wait_for

from tools.tool import Pair, Tool

DEVICE = "ovpn0"


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    prints = {side: _certificate(folder, side) for side in ("left", "right")}
    right = _words(folder, "right", prints["left"], RIGHT_INSIDE, LEFT_INSIDE, "--tls-server", "--dh", "none")
    left = _words(folder, "left", prints["right"], LEFT_INSIDE, RIGHT_INSIDE, "--tls-client")
    left += ["--remote", net.right.address]
    logs = folder / "left.log", folder / "right.log"
    with (
        net.right.running(*right, log=logs[1]) as right_process,
        net.left.running(*left, log=logs[0]) as left_process,
    ):
        for log in logs:
            wait_for(partial(_is_connected, log), f"{log.stem} to be connected")
        yield Pair(
            net.left, net.right, RIGHT_INSIDE, {"left": [left_process.pid], "right": [right_process.pid]}
        )


def _is_connected(log: Path) -> bool:
    return "Sequence Completed" in log.read_text()


def _words(folder: Path, side: str, other_print: str, own: str, other: str, *more: str) -> list[str]:
    files = ["--cert", str(folder / f"{side}.crt"), "--key", str(folder / f"{side}.pem")]
    trust = ["--peer-fingerprint", other_print]
    device = ["--dev", DEVICE, "--dev-type", "tun", "--tun-mtu", str(MTU), "--ifconfig", own, other]
    return ["openvpn", "--disable-dco", "--proto", "udp", "--verb", "3", *device, *files, *trust, *more]


def _certificate(folder: Path, side: str) -> str:
    """Make a key and a certificate signed by itself; return its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, side)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / f"{side}.pem"
    file.touch(mode=0o600)
    file.write_bytes(private)
    (folder / f"{side}.crt").write_bytes(certificate.public_bytes(pem))
    return certificate.fingerprint(hashes.SHA256()).hex(":")


TOOL = Tool(
    "openvpn",
    "AES-256-GCM over UDP, without the kernel's help",
    {"openvpn": "openvpn"},
    ("openvpn", "--version"),
    _up,
)
