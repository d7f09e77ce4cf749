"""What passes a device, kept as a file that every packet analyser reads."""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from pathlib import Path

from ltk.kernel.sniff import Seen, Sniffer

FILE_HEADER = struct.pack(
    "=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101
)  # pcap-savefile(5); link type raw IP
PACKET = struct.Struct("=IIII")


class Capture:
    """A capture that is going on between `__enter__` and `__exit__`."""

    def __init__(self, scope: str, device: str, file: Path) -> None:
        """Capture what passes `device` in the namespace `scope` into `file`."""
        self.file = file
        self._sniffer = Sniffer(scope, device)
        self._seen: list[Seen] = []
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"capture of {device}")

    @property
    def packets(self) -> list[bytes]:
        """The packets so far, each from its IP header on."""
        return [seen.data for seen in list(self._seen)]

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._sniffer.close()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._sniffer.fileno(), select.POLLIN)
        poller.register(self._stop, select.POLLHUP)
        with self.file.open("wb") as file:
            file.write(FILE_HEADER)
            ended = False
            while not ended:
                ended = any(descriptor == self._stop for descriptor, _ in poller.poll())
                for seen in self._sniffer.take():
                    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
                    length = len(seen.data)
                    file.write(PACKET.pack(seconds, rest // 1000, length, length) + seen.data)
                    self._seen.append(seen)
