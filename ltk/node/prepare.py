"""For a process that forks daemons: what each of them would make at its start is made once, and shared."""

from __future__ import annotations

import os
import time
from ipaddress import ip_address, ip_network

from ltk.protocol.engine import Endpoint, Engine, EngineConfig, PeerConfig, PeerKind
from ltk.protocol.primitives import public_key_of

# Documentation's own addresses (RFC 5737, RFC 3849): nothing is sent, these only have to be told apart.
HERE, THERE = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
NETWORKS = (ip_network("2001:db8::1/128"), ip_network("2001:db8::2/128"))
TURNS = 16  # datagrams there and back; a handshake and what follows it are fewer


def prepare() -> None:
    """Have two engines in memory connect, and forget them.

    Python imports, compiles and specialises on first use, and OpenSSL looks its algorithms up. In a child,
    that would cost some 30 ms of its start, and 2 MB which it then shares with nobody.
    """
    connect()


def connect() -> tuple[Engine, Engine]:
    """A server and a client that have shaken hands; nothing of it leaves this process."""
    keys = os.urandom(32), os.urandom(32)
    now = time.monotonic()
    server, client = engines = tuple(
        Engine(
            EngineConfig(
                private_key=keys[own],
                mtu=1280,
                forward=own == 0,
                isolation=False,
                addresses=(ip_address(NETWORKS[own].network_address),),
                peers=(
                    PeerConfig(
                        name="other",
                        public_key=public_key_of(keys[1 - own]),
                        endpoint=(THERE, HERE)[own],
                        allowed_ips=(NETWORKS[1 - own],),
                        keepalive=float(own),
                        kind=(PeerKind.CLIENT, PeerKind.SERVER)[own],
                    ),
                ),
            ),
            now=now,
            wall_clock=time.time(),
            random=os.urandom,
        )
        for own in (0, 1)
    )
    for turn in range(TURNS):
        sender, receiver = engines[(turn + 1) % 2], engines[turn % 2]
        source = (THERE, HERE)[turn % 2]
        while (transmit := sender.poll_transmit()) is not None:
            receiver.handle_datagram(memoryview(bytes(transmit.data)), source, now)
    return server, client
