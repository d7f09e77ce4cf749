#!/usr/bin/env python3
"""A name server (RFC 1035) of the tests: name_server.py ADDRESS; every name has this IPv4 address."""

from __future__ import annotations

import socket
import struct
import sys

HEADER = struct.Struct("!6H")  # number, flags, and how many questions, answers, authorities and others
ANSWER = struct.Struct("!HHHIH")  # where the name is, type, class, seconds to live, length
RESPONSE, NAME_OF_THE_QUESTION, A, IN = 0x8180, 0xC00C, 1, 1


def answer(query: bytes, address: bytes) -> bytes:
    """The response to a query of one question: for type A the address, for others that there is none."""
    end = query.index(0, HEADER.size) + 5
    (number,), (kind,) = struct.unpack_from("!H", query), struct.unpack_from("!H", query, end - 4)
    record = ANSWER.pack(NAME_OF_THE_QUESTION, A, IN, 1, len(address)) + address if kind == A else b""
    return HEADER.pack(number, RESPONSE, 1, bool(record), 0, 0) + query[HEADER.size : end] + record


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", 53))
        print("up", flush=True)
        while True:
            query, source = server.recvfrom(512)
            server.sendto(answer(query, socket.inet_aton(sys.argv[1])), source)


if __name__ == "__main__":
    main()
