"""Traffic between two places whose arrival is counted by others than ltk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from place import Place

PORT = 5001
DENSE = 50  # datagrams a second at least, of 200 on a machine that is not busy
SCRIPT, STREAM = (str(Path(__file__).with_name(name)) for name in ("bulk.py", "datagrams.py"))


def transferred(source: Place, target: Place, address: str, size: int) -> None:
    """Send `size` bytes over TCP from `source` to `address` of `target`; they must arrive unchanged."""
    words = (address, str(PORT), str(size))
    with target.running(sys.executable, SCRIPT, "receive", *words) as receiver:
        assert receiver.stdout
        assert receiver.stdout.readline() == "listening\n"
        sent = source.run(sys.executable, SCRIPT, "send", *words, timeout=90)
        received, _ = receiver.communicate(timeout=90)
    assert received == sent, f"sent {sent}received {received}"


@contextmanager
def streaming(source: Place, target: Place, address: str, seconds: int) -> Iterator[Callable[[], None]]:
    """A stream of UDP datagrams while the body goes on; the value waits for its end: none may be missing."""
    words = (address, str(PORT), str(seconds))
    with target.running(sys.executable, STREAM, "receive", *words) as receiver:
        assert receiver.stdout
        assert receiver.stdout.readline() == "listening\n"
        with source.running(sys.executable, STREAM, "send", *words) as sender:

            def finish() -> None:
                sent, _ = sender.communicate(timeout=seconds + 60)
                received, _ = receiver.communicate(timeout=60)
                assert received == sent, f"sent {sent}received {received}"
                assert int(sent.split(",")[0]) > seconds * DENSE, f"it was no dense stream: {sent}"

            yield finish
