"""Telling whoever started the process how it is: the datagrams of sd_notify(3)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import MutableMapping

READY = "READY=1"
STOPPING = "STOPPING=1"
DEVICE_GONE = "X_LTK_DEVICE=gone"


class Notifier:
    """Sends states to a service manager; without one it says nothing."""

    def __init__(self, connected: socket.socket | None = None) -> None:
        """`connected` is a datagram (or sequenced-packet) socket whose other end listens."""
        self._socket = connected
        if connected is not None:
            connected.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """The one that NOTIFY_SOCKET names, which is taken out so that no child speaks for us."""
        name = environment.pop("NOTIFY_SOCKET", "")
        if not name:
            return cls()
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            connected.connect("\0" + name[1:] if name.startswith("@") else name)
        except OSError:
            connected.close()
            return cls()
        return cls(connected)

    def tell(self, *states: str) -> None:
        """Send `states` together. A manager that does not listen is not waited for."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send("\n".join(states).encode())
