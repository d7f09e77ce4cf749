"""What a process remembers, searched as whoever took the machine over would search it.

A session's key is found without being known: it is the 32 bytes that open a datagram which was recorded
on the wire. Whoever finds it in one process has shown that the search works, and may look for it in another.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from harness import wait_for

KEY_SIZE = 32  # bytes
ALIGNMENT = 8  # bytes; of what malloc(3) gives
HEADER_SIZE = 16  # bytes of a data message: type, receiver, counter (WireGuard paper, section 5.4.6)
PAGE = 4096  # bytes
DISTINCT = 22  # byte values in a key at least: one random key in more than a million has fewer


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still while the body looks at it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(
            lambda: re.search(r"^State:\s+T", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE),
            f"process {pid} to stand still",
        )
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def memory_of(pid: int) -> list[bytes]:
    """All that the process can write to and may have written: heap, stacks, data, anonymous maps."""
    found = []
    with stopped(pid), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights = line.split()[:2]
            if rights.startswith("rw"):
                start, end = (int(each, 16) for each in area.split("-"))
                found.append(os.pread(memory.fileno(), end - start, start))
                assert len(found[-1]) == end - start, f"not all of {line} was read"
    return found


def holds(memory: Sequence[bytes], secret: bytes) -> bool:
    """Whether the bytes are anywhere in it, aligned or not."""
    return any(secret in area for area in memory)


def keys_in(memory: Sequence[bytes], *recorded: bytes) -> list[bytes | None]:
    """For each recorded data message: the key in `memory` that opens it, or None where there is none."""
    candidates = set(_candidates(memory))
    return [next((key for key in candidates if _opens(key, message)), None) for message in recorded]


def _candidates(memory: Sequence[bytes]) -> Iterator[bytes]:
    """Whatever could be a key: 32 bytes, aligned, that look random."""
    nothing = bytes(PAGE)
    for area in memory:
        for page in range(0, len(area), PAGE):
            if area[page : page + PAGE] == nothing:
                continue
            for start in range(page, page + PAGE, ALIGNMENT):
                window = area[start : start + KEY_SIZE]
                if len(set(window)) >= DISTINCT:
                    yield window


def _opens(key: bytes, message: bytes) -> bool:
    if len(key) != KEY_SIZE:
        return False
    nonce = bytes(4) + message[8:HEADER_SIZE]
    try:
        ChaCha20Poly1305(key).decrypt(nonce, message[HEADER_SIZE:], None)
    except InvalidTag:
        return False
    return True
