"""What a process of daemons leaves out, to be small and quick; said before it imports them."""

from __future__ import annotations

import os
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


OPENSSL_CAPABILITIES = "OPENSSL_ia32cap"  # an environment variable; OPENSSL_ia32cap(3)
_ALL_BUT_IFMA = ":~0x200000"  # bit 64+21: AVX-512 IFMA


def without_ifma() -> None:
    """Have OpenSSL seal and open by other instructions than AVX-512's IFMA, unless the user says what it has.

    Where the processor has them, OpenSSL authenticates with those, and takes longer at every size of packet:
    with `cryptography` 50 on a Sapphire Rapids, least of many in turns, 1.7 us for 0.95 with 64 bytes, 2.4
    for 1.65 with 1408, 30 for 26 with 65000. Once `cryptography` has been imported this changes nothing.
    """
    if OPENSSL_CAPABILITIES in os.environ:
        return
    os.environ[OPENSSL_CAPABILITIES] = _ALL_BUT_IFMA
    try:
        import ltk.protocol.primitives  # noqa: F401 - loads OpenSSL, and that is all it is for
    finally:
        del os.environ[OPENSSL_CAPABILITIES]  # no other program's concern
