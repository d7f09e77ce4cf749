"""What passes a device, kept as a file that every packet analyser reads."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

from ltk.capture.dissect import ETHERNET_HEADER, dissect
from ltk.capture.record import Captured, Tap
from ltk.capture.recording import Recording
from ltk.kernel.packets import Link


class Capture:
    """A capture that is going on between `__enter__` and `__exit__`."""

    def __init__(self, scope: str, node: str, device: str, file: Path) -> None:
        """Capture what passes `device` of `node`, in the namespace `scope`, into `file`."""
        self.file = file
        self._tap = Tap(scope, node, device)
        self._packets: list[bytes] = []
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"capture of {self._tap.name}")

    @property
    def packets(self) -> list[bytes]:
        """The packets so far, each from its IP header on."""
        return list(self._packets)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._tap.close()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._tap.fileno(), select.POLLIN)
        poller.register(self._stop, select.POLLHUP)
        ethernet = self._tap.link is Link.ETHERNET
        with self.file.open("wb") as file:
            recording = Recording([self._tap], None, file, None, None)
            ended = False
            while not ended:
                ended = any(descriptor == self._stop for descriptor, _ in poller.poll())
                while (packet := self._tap.read()) is not None:
                    recording.take([Captured(0, packet)])
                    if dissect(packet.data, ethernet=ethernet).protocol is not None:
                        self._packets.append(packet.data[ETHERNET_HEADER if ethernet else 0 :])
            recording.end()
