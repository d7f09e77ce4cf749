"""What a process that is one node's daemon, and nothing else, leaves out to be small."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast


def without_openssl_hashes() -> None:
    """Have `hashlib` offer Python's own hashes only; said after its first import, it changes nothing.

    For the others it loads the system's OpenSSL, 3.5 MB beside the one that `cryptography` brings. A daemon
    needs BLAKE2s, which is Python's own either way. What does not go without is scrypt.
    """
    # That an entry of None is a module that cannot be imported: the language reference, section 5.3.1.
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    if "hashlib" not in modules:
        modules["_hashlib"] = None
