"""What a daemon would make at its start is there before it is forked; buffers take what they use."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from ltk.node import prepare
from ltk.protocol.buffers import buffer

MIB = 1 << 20


def test_after_preparing_a_handshake_imports_nothing_more() -> None:
    program = (
        "import sys; import ltk.node.daemon; from ltk.node.prepare import prepare; prepare();"
        "before = set(sys.modules); prepare(); print(*(set(sys.modules) - before));"
        "print('cryptography.hazmat.backends.openssl.backend' in before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_the_two_engines_really_connect() -> None:
    first, second = prepare.connect()
    now = time.monotonic()
    for engine in (first, second):
        assert [peer.handshake_age is not None for peer in engine.status(now)] == [True]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_buffer_is_writable_zeros_and_takes_no_memory_before_it_is_used() -> None:
    before = resident()
    made = buffer(64 * MIB)
    assert resident() - before < 8 * MIB
    assert len(made) == 64 * MIB
    assert made[:4] == bytes(4)
    made[1:5] = b"ltk!"
    assert bytes(made[:6]) == b"\0ltk!\0"
    made[:] = os.urandom(MIB) * 64
    assert resident() - before >= 60 * MIB, "what is used counts"
