"""How much TCP carries from one node to another: a sender and a receiver in this process."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from ltk.errors import LtkError
from ltk.kernel import netns
from ltk.verify.ends import End

WARM_UP = 0.5  # seconds that are not counted: TCP begins slowly
MEASURED = 2.0  # seconds
CHUNK = 256 * 1024  # bytes
SILENCE = 5.0  # seconds without a byte after which nothing more is expected


def carried(one: End, other: End) -> float:
    """Bits per second that arrive at `other` of what `one` sends, over MEASURED seconds.

    Over the first family of addresses. Raises LtkError where there is no connection, or it ends.
    """
    doing = f"measuring what goes from {one.node} to {other.node}"
    try:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_socket(other))
            listener.listen(1)
            sender = stack.enter_context(_socket(one))
            sender.connect(listener.getsockname()[:2])
            receiver = stack.enter_context(listener.accept()[0])
            receiver.settimeout(SILENCE)
            pump = threading.Thread(target=_pump, args=(sender,), name="sender")
            pump.start()
            try:
                return _received(receiver) * 8 / MEASURED
            finally:
                for each in (receiver, sender):  # the pump hears of it and ends
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                pump.join()
    except TimeoutError:
        raise LtkError(doing, f"nothing arrived for {SILENCE:g} s") from None
    except OSError as error:
        raise LtkError(doing, os.strerror(error.errno or 0)) from None


def _socket(end: End) -> socket.socket:
    address = end.addresses[0]
    with netns.inside(end.scope):
        made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    made.settimeout(SILENCE)
    made.bind((str(address), 0))
    return made


def _pump(sender: socket.socket) -> None:
    chunk = bytes(CHUNK)
    with contextlib.suppress(OSError):  # the receiver has enough
        while True:
            sender.sendall(chunk)


def _received(receiver: socket.socket) -> float:
    """Bytes that arrive within MEASURED seconds, once it has warmed up."""
    buffer = bytearray(CHUNK)
    begin = time.monotonic() + WARM_UP
    counted = 0
    while (now := time.monotonic()) < begin + MEASURED:
        many = receiver.recv_into(buffer)
        if many == 0:
            raise LtkError("measuring what TCP carries", "the connection has ended")
        if now >= begin:
            counted += many
    return counted
