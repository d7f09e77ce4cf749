"""Echo requests from inside namespaces (RFC 792, RFC 4443): who answers whom, and how fast."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from ltk.kernel import netns

IPAddress: TypeAlias = IPv4Address | IPv6Address

ECHO = struct.Struct("!BBHHHd")  # type, code, checksum, identifier, sequence number, time of sending
ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_6, ECHO_REPLY_6 = 128, 129


@dataclass(frozen=True, slots=True)
class Question:
    """Does `target` answer somebody in the namespace `scope`?"""

    scope: str
    target: IPAddress


def sweep(questions: Sequence[Question], timeout: float) -> dict[Question, float | None]:
    """Send one echo request for each question; the round-trip times in seconds, None without an answer.

    Returns when all have been answered, or `timeout` seconds after the last was sent.
    """
    answers: dict[Question, float | None] = dict.fromkeys(questions)
    identifier = os.getpid() & 0xFFFF
    with contextlib.ExitStack() as stack:
        poller = select.poll()
        sockets: dict[tuple[str, int], socket.socket] = {}
        by_descriptor: dict[int, tuple[str, socket.socket]] = {}
        for sequence, question in enumerate(questions):
            key = (question.scope, question.target.version)
            if key not in sockets:
                sockets[key] = stack.enter_context(_open(*key))
                by_descriptor[sockets[key].fileno()] = (question.scope, sockets[key])
                poller.register(sockets[key], select.POLLIN)
            with contextlib.suppress(OSError):  # no route is no answer
                sockets[key].sendto(
                    _request(question.target, identifier, sequence), (str(question.target), 0)
                )
        left = set(answers)
        deadline = time.monotonic() + timeout
        while left and (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(remaining * 1000):
                scope, raw = by_descriptor[descriptor]
                found = _read(raw, identifier)
                if found and (answered := Question(scope, found[0])) in left:
                    answers[answered] = found[1]
                    left.discard(answered)
    return answers


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
