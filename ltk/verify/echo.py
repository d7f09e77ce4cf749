"""Datagrams from one node to another and back again, both ends in this process.

The way there and the way back are told apart, which no ping can.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field

from ltk.errors import LtkError
from ltk.kernel import netns
from ltk.topology.expanded import Address
from ltk.verify.ends import End

SEQUENCE = struct.Struct("!I")


@dataclass(slots=True)
class Echoes:
    """What became of some datagrams, by their numbers from 0 on."""

    sent: int = 0
    arrived: set[int] = field(default_factory=set)
    answered: dict[int, float] = field(default_factory=dict)  # round trip in seconds
    refused: str = ""  # what the kernel said where it would not even send

    @property
    def complete(self) -> bool:
        """Whether all that was sent has come back."""
        return len(self.answered) == self.sent

    @property
    def reached(self) -> bool:
        """Whether most came back; how many may be missing is another question."""
        return 2 * len(self.answered) > self.sent

    def __str__(self) -> str:
        refused = f" ({self.refused})" if self.refused else ""
        arrived, answered = len(self.arrived), len(self.answered)
        return f"{arrived} of {self.sent} datagrams arrived, {answered} came back{refused}"

    @property
    def loss(self) -> float:
        """The share that was lost, 0 to 1, in the direction that lost more."""
        there = 1 - len(self.arrived) / self.sent if self.sent else 1.0
        back = 1 - len(self.answered) / len(self.arrived) if self.arrived else 0.0
        return max(there, back)

    @property
    def round_trip(self) -> float | None:
        """The median round trip in seconds; None without any."""
        times = sorted(self.answered.values())
        return times[len(times) // 2] if times else None


@dataclass(frozen=True, slots=True)
class Sending:
    """How many datagrams of how many bytes, how far apart, and how long the last is waited for (seconds)."""

    count: int
    size: int
    interval: float
    patience: float
    stop_at_arrival: bool = False


def exchange(one: End, other: End, sending: Sending) -> Echoes:
    """Send from `one` to `other`, and back what arrives; over each family of addresses in turns.

    Ends when all came back, or `patience` seconds after the last was sent. Raises LtkError where an end
    has not the addresses that it should have.
    """
    with contextlib.ExitStack() as stack:
        near = [stack.enter_context(_bound(one, address)) for address in one.addresses]
        far = [stack.enter_context(_bound(other, address)) for address in other.addresses]
        under_way = _UnderWay(near, far)
        begin = last = time.monotonic()
        for number in range(sending.count):
            under_way.listen(begin + number * sending.interval, until_complete=False)
            if sending.stop_at_arrival and under_way.echoes.arrived:
                return under_way.echoes
            last = under_way.send(number, sending.size)
        under_way.listen(last + sending.patience, until_complete=True)
        return under_way.echoes


def _bound(end: End, address: Address) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with netns.inside(end.scope):
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.bind((str(address), 0))
        except OSError as error:
            made.close()
            doing = f"opening a socket at {address} in {end.node}"
            raise LtkError(doing, os.strerror(error.errno or 0)) from None
    return made


class _UnderWay:
    """The sockets of both ends, family by family, and what has become of the datagrams so far."""

    def __init__(self, near: list[socket.socket], far: list[socket.socket]) -> None:
        self.echoes = Echoes()
        self._near = near
        self._targets = [each.getsockname()[:2] for each in far]
        self._sent_at: dict[int, float] = {}
        self._sockets = {each.fileno(): (each, some is far) for some in (near, far) for each in some}
        self._poller = select.poll()
        for descriptor in self._sockets:
            self._poller.register(descriptor, select.POLLIN)

    def send(self, number: int, size: int) -> float:
        """Send the datagram of that number, of `size` bytes; returns when it was sent."""
        turn = number % len(self._near)
        self.echoes.sent += 1
        now = self._sent_at[number] = time.monotonic()
        try:
            self._near[turn].sendto(SEQUENCE.pack(number).ljust(size, b"\0"), self._targets[turn])
        except OSError as error:
            self.echoes.refused = os.strerror(error.errno or 0)
        return now

    def listen(self, until: float, *, until_complete: bool) -> None:
        """Take what arrives at either end, up to that time, or until all has come back."""
        while not (until_complete and self.echoes.complete):
            left = until - time.monotonic()
            if left <= 0:
                return
            for descriptor, _ in self._poller.poll(left * 1000):
                self._take(*self._sockets[descriptor])

    def _take(self, arrived_at: socket.socket, is_far: bool) -> None:
        try:
            data, source = arrived_at.recvfrom(65535)
        except BlockingIOError:
            return
        except OSError as error:  # what a router has said about an earlier one, by ICMP
            self.echoes.refused = os.strerror(error.errno or 0)
            return
        if len(data) < SEQUENCE.size:
            return
        (number,) = SEQUENCE.unpack_from(data)
        if number not in self._sent_at:
            return  # somebody else's
        if not is_far:
            self.echoes.answered.setdefault(number, time.monotonic() - self._sent_at[number])
            return
        self.echoes.arrived.add(number)
        with contextlib.suppress(OSError):  # it counts as lost
            arrived_at.sendto(data, source)
