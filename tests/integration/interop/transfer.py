"""A bulk transfer between two places, proven by its hash."""

from __future__ import annotations

import sys
from pathlib import Path

from place import Place

PORT = 5001
SCRIPT = str(Path(__file__).with_name("bulk.py"))


def transferred(source: Place, target: Place, address: str, size: int) -> None:
    """Send `size` bytes over TCP from `source` to `address` of `target`; they must arrive unchanged."""
    words = (address, str(PORT), str(size))
    with target.running(sys.executable, SCRIPT, "receive", *words) as receiver:
        assert receiver.stdout
        assert receiver.stdout.readline() == "listening\n"
        sent = source.run(sys.executable, SCRIPT, "send", *words, timeout=90)
        received, _ = receiver.communicate(timeout=90)
    assert received == sent, f"sent {sent}received {received}"
