"""A daemon by itself: what it does not load."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from ltk.node import lean

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


CAPABILITIES = """
import os
from ltk.node import lean
{said}
import ltk.node.daemon
from cryptography.hazmat.bindings.openssl.binding import Binding
told = Binding.ffi.string(Binding.lib.OpenSSL_version(9)).decode()  # OPENSSL_CPU_INFO of openssl/crypto.h
print(int(told.partition("=")[2].split(":")[1], 16) >> 21 & 1, os.environ.get("OPENSSL_ia32cap"))
"""


def capabilities(said: str, environment: dict[str, str]) -> list[str]:
    """Whether OpenSSL uses IFMA in such a process, and what its environment says of that afterwards."""
    words = [sys.executable, "-c", CAPABILITIES.format(said=said)]
    told = {name: value for name, value in os.environ.items() if name != lean.OPENSSL_CAPABILITIES}
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=60, env=told | environment
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only these processors have IFMA")
def test_openssl_does_without_ifma_and_programs_are_not_told() -> None:
    assert capabilities("lean.without_ifma()", {}) == ["0", "None"]
    asked_for = {lean.OPENSSL_CAPABILITIES: ":~0x0"}
    said_by_the_user = [capabilities("", {})[0], ":~0x0"]
    assert capabilities("lean.without_ifma()", asked_for) == said_by_the_user
