"""Where a machine is reached by SSH: [USER@]HOST[:PORT]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from ltk.topology.values import MAX_PORT, UnreadableError, quote

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}\$?")  # as useradd(8) has it, and capitals
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")
_SHAPE = re.compile(r"((?P<user>[^@]*)@)?(?P<host>\[[^]]*\]|[^:@]*)(:(?P<port>[^:@]*))?")
_EXAMPLE = "such as root@hub.example.net or hub.example.net:2222"


@dataclass(frozen=True, slots=True)
class SshPlace:
    """The parts; `user` and `port` are None where SSH's own configuration decides."""

    user: str | None
    host: str  # a name or an address, without brackets
    port: int | None


def parse_ssh(value: object) -> str:
    """The text as it is written in a file, checked; an IPv6 address stands in brackets."""
    split_ssh(value)
    return str(value)


def split_ssh(value: object) -> SshPlace:
    """The parts of such a text; UnreadableError with what is wrong with it."""
    if not isinstance(value, str):
        raise UnreadableError(f"should be [USER@]HOST[:PORT], is {quote(value)}", _EXAMPLE)
    found = _SHAPE.fullmatch(value)
    if found is None:
        raise UnreadableError(f"should be [USER@]HOST[:PORT], is {quote(value)}", _EXAMPLE)
    user, host, port = found["user"], found["host"], found["port"]
    if user is not None and not _USER.fullmatch(user):
        raise UnreadableError(f"has no user's name before the @: {quote(value)}", _EXAMPLE)
    if port is not None and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT):
        raise UnreadableError(f"should end in a port from 1 to {MAX_PORT}, is {quote(value)}", _EXAMPLE)
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except AddressValueError:
            raise UnreadableError(f"has no IPv6 address between the brackets: {quote(value)}") from None
    elif not _HOST.fullmatch(host):
        raise UnreadableError(f"should have a host name or an address, is {quote(value)}", _EXAMPLE)
    return SshPlace(user, host, int(port) if port is not None else None)
