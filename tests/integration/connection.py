"""One TCP connection of an application, through a tunnel, which is never reset and loses no byte."""

from __future__ import annotations

import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor

from harness import Lab

from ltk.kernel import netns

PORTION = 1 << 16  # bytes
PATIENCE = 60.0  # seconds without progress; TCP itself has far more


class Transfer:
    """A connection from one place to an address of another, which sends until it is told that it is enough.

    With `size` it ends by itself after so many bytes.
    """

    def __init__(self, lab: Lab, source: str, target: str, address: str, size: int | None = None) -> None:
        with netns.inside(lab.scope(target)):
            self._server = socket.create_server((address, 0))
        with netns.inside(lab.scope(source)):
            self._outgoing = socket.socket()
        self._outgoing.settimeout(PATIENCE)
        self._server.settimeout(PATIENCE)
        self._size = size
        self.sent = self.received = 0
        self._enough = False
        self._executor = ThreadPoolExecutor(2)
        self._ends = [self._executor.submit(run) for run in (self._receive, self._send)]

    def is_past(self, count: int) -> bool:
        """Whether so many bytes have arrived; raises what has ended the connection."""
        for end in self._ends:
            if end.done():
                end.result()
        return self.received >= count

    def finish(self) -> tuple[str, str]:
        """Send no more; return the hashes of what was sent and of what has arrived."""
        self._enough = self._size is None
        try:
            received, sent = (end.result(PATIENCE) for end in self._ends)
        finally:
            self._enough, self._size = True, None
            self._executor.shutdown()
            self._server.close()
        return sent, received

    def _send(self) -> str:
        digest = hashlib.sha256()
        with self._outgoing as connection:
            connection.connect(self._server.getsockname())
            while not self._enough and (self._size is None or self.sent < self._size):
                portion = os.urandom(PORTION)
                connection.sendall(portion)
                digest.update(portion)
                self.sent += len(portion)
        return digest.hexdigest()

    def _receive(self) -> str:
        digest = hashlib.sha256()
        connection, _ = self._server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            while portion := connection.recv(PORTION):
                digest.update(portion)
                self.received += len(portion)
        return digest.hexdigest()
