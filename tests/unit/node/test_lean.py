"""A daemon by itself: what it does not load."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
from ltk.node import lean
{said}
import ltk.node.daemon
from ltk.node.config import fingerprint
print(fingerprint(bytes(32)), "libcrypto" in open("/proc/self/maps").read())
"""


def loaded(said: str) -> list[str]:
    """What a daemon's process with this line says of a hash, and whether it has the system's OpenSSL."""
    words = [sys.executable, "-c", LOADED.format(said=said)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_a_daemon_hashes_as_ever_without_the_systems_openssl() -> None:
    digest, has_openssl = loaded("lean.without_openssl_hashes()")
    assert has_openssl == "False"
    assert loaded("")[0] == digest


def test_what_is_loaded_already_stays() -> None:
    _, has_openssl = loaded("import hashlib; lean.without_openssl_hashes(); hashlib.scrypt")
    assert has_openssl == loaded("")[1]
