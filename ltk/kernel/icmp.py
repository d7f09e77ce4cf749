"""Echo requests from inside namespaces (RFC 792, RFC 4443): who answers whom, and how fast."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from ltk.kernel import netns

IPAddress: TypeAlias = IPv4Address | IPv6Address

ECHO = struct.Struct("!BBHHHd")  # type, code, checksum, identifier, sequence number, time of sending
ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_6, ECHO_REPLY_6 = 128, 129

# A sweep of a large network is many first packets, each of which sets up a session and looks for a path.
# All at once they would be in each other's way for longer than anybody waits for an answer.
AT_ONCE = 64  # questions
SILENCE = 0.5  # seconds without any answer until those on their way hold up nobody any more, but
SILENT_ROUNDS = 4.0  # of the longest round trip so far, where that is longer, and at most
MAX_SILENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Question:
    """Does `target` answer somebody in the namespace `scope`?"""

    scope: str
    target: IPAddress


def sweep(questions: Sequence[Question], timeout: float) -> dict[Question, float | None]:
    """Send one echo request for each question; the round-trip times in seconds, None without an answer.

    At most AT_ONCE are on their way at a time; those that nobody answers make room for the next after a
    silence, and may still be answered. Returns when all have been answered, or `timeout` seconds after the
    last was sent.
    """
    answers: dict[Question, float | None] = dict.fromkeys(questions)
    identifier = os.getpid() & 0xFFFF
    with contextlib.ExitStack() as stack:
        poller = select.poll()
        sockets: dict[tuple[str, int], socket.socket] = {}
        by_descriptor: dict[int, tuple[str, socket.socket]] = {}
        for key in dict.fromkeys((each.scope, each.target.version) for each in questions):
            sockets[key] = stack.enter_context(_open(*key))
            by_descriptor[sockets[key].fileno()] = (key[0], sockets[key])
            poller.register(sockets[key], select.POLLIN)
        left = set(answers)
        unsent = deque(enumerate(answers))
        window = Window()
        last = time.monotonic()
        while left and (unsent or time.monotonic() < last + timeout):
            while unsent and window.has_room(time.monotonic()):
                sequence, question = unsent.popleft()
                with contextlib.suppress(OSError):  # no route is no answer
                    sockets[question.scope, question.target.version].sendto(
                        _request(question.target, identifier, sequence), (str(question.target), 0)
                    )
                last = time.monotonic()
                window.sent(question, last)
            until = window.full_until if unsent else last + timeout
            for descriptor, _ in poller.poll(max(0.0, until - time.monotonic()) * 1000):
                scope, raw = by_descriptor[descriptor]
                found = _read(raw, identifier)
                if found and (answered := Question(scope, found[0])) in left:
                    answers[answered] = found[1]
                    left.discard(answered)
                    window.answered(answered, found[1], time.monotonic())
    return answers


class Window:
    """Which of the questions on their way hold up the next: AT_ONCE at most, until they are answered.

    After a silence, in which nobody answers anything, those sent before it hold up nobody any more. It is
    the longer the slower answers have been, since a busy machine is not to be made busier.
    """

    def __init__(self) -> None:
        self._silence = SILENCE
        self._heard = float("-inf")
        self._sent: dict[Question, float] = {}  # in the order of sending

    @property
    def full_until(self) -> float:
        """When the first of those on their way makes room, if nobody answers before; monotonic seconds."""
        return max(next(iter(self._sent.values()), float("-inf")), self._heard) + self._silence

    def has_room(self, now: float) -> bool:
        """Whether one more may be sent."""
        if now >= self.full_until:
            silent_since = now - self._silence
            self._sent = {each: sent for each, sent in self._sent.items() if sent > silent_since}
        return len(self._sent) < AT_ONCE

    def sent(self, question: Question, now: float) -> None:
        """Note that the question is on its way."""
        self._sent[question] = now

    def answered(self, question: Question, round_trip: float, now: float) -> None:
        """Note an answer, and how long it took in seconds."""
        self._sent.pop(question, None)
        self._heard = now
        self._silence = max(self._silence, min(SILENT_ROUNDS * round_trip, MAX_SILENCE))


def _open(scope: str, version: int) -> socket.socket:
    with netns.inside(scope):
        if version == 4:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        else:
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    raw.setblocking(False)
    return raw


def _request(target: IPAddress, identifier: int, sequence: int) -> bytes:
    kind = ECHO_REQUEST if target.version == 4 else ECHO_REQUEST_6
    now = time.monotonic()
    packet = ECHO.pack(kind, 0, 0, identifier, sequence & 0xFFFF, now)
    if target.version == 6:
        return packet  # the kernel fills in the checksum, which covers addresses that only it knows
    checksum = 0xFFFF - sum(struct.unpack(f"!{len(packet) // 2}H", packet)) % 0xFFFF
    return ECHO.pack(kind, 0, checksum, identifier, sequence & 0xFFFF, now)


def _read(raw: socket.socket, identifier: int) -> tuple[IPAddress, float] | None:
    """(who answered, round-trip time) of one packet; None for a packet that is no answer to us."""
    try:
        data, source = raw.recvfrom(2048)
    except BlockingIOError:
        return None
    now = time.monotonic()
    offset = (data[0] & 0xF) * 4 if raw.family == socket.AF_INET else 0
    if len(data) < offset + ECHO.size:
        return None
    kind, _, _, their_identifier, _, sent = ECHO.unpack_from(data, offset)
    if kind not in (ECHO_REPLY, ECHO_REPLY_6) or their_identifier != identifier:
        return None
    if kind == ECHO_REPLY_6 and raw.family == socket.AF_INET:
        return None
    return ip_address(source[0].partition("%")[0]), now - sent
