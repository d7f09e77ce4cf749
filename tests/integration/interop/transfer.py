"""Traffic between two places whose arrival is counted by others than ltk."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from place import Place

PORT = 5001
STREAM_SIZE = 250  # bytes of a datagram of a stream
STREAM_RATE = 1_000_000  # bits per second: 500 datagrams
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


@contextmanager
def streaming(source: Place, target: Place, address: str, seconds: int) -> Iterator[Callable[[], None]]:
    """A stream of UDP datagrams while the body goes on; the value waits for its end: none may be missing."""
    server = ("iperf3", "--server", "--one-off", "--forceflush")
    options = ("--udp", "--bitrate", str(STREAM_RATE), "--length", str(STREAM_SIZE), "--time", str(seconds))
    with target.running(*server) as receiver:
        assert receiver.stdout
        said = iter(receiver.stdout.readline, "")
        assert any("Server listening" in line for line in said), "iperf3 does not listen"
        with source.running("iperf3", "--client", address, "--json", *options) as sender:

            def finish() -> None:
                output, _ = sender.communicate(timeout=seconds + 30)
                total = json.loads(output)["end"]["sum"]
                assert total["packets"] > seconds * STREAM_RATE / 8 / STREAM_SIZE * 0.9, output
                assert total["lost_packets"] == 0, output

            yield finish
