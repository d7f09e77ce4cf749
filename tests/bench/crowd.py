"""Many clients on one server: a real daemon, and clients that are the protocol's core, all in one process.

Each client has an address and a socket of its own, since the server limits handshakes by address. So the
server cannot tell them from daemons, and what it costs is its own.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
import time
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

from places import MTU, Place, cpu_seconds, lone_place, memory
from tools import ltk_nodes

from ltk.errors import LtkError
from ltk.kernel import netns
from ltk.node.config import PeerSettings, Role, decode_key, encode_key
from ltk.node.control import ask
from ltk.protocol.engine import Endpoint, Engine, EngineConfig, PeerConfig, PeerKind
from ltk.protocol.events import HandshakeCompleted
from ltk.protocol.outbox import datagrams
from ltk.protocol.primitives import private_key_from_random, public_key_of

OUTSIDE = IPv4Address("10.90.0.1")  # the server's address; the clients' follow
INSIDE = IPv4Address("10.91.0.1")
KEEPALIVE = 20  # seconds, the default of a topology
UP_LIMIT = 120.0  # seconds; the promise is in the report, this is when to give up
LARGEST = 65536  # bytes of a datagram


def measure(clients: int, idle_seconds: float, folder: Path) -> dict[str, float]:
    """Seconds until all have a session, and what the server then costs: share of a core, and bytes.

    `kb_per_client` is what its memory has grown by since it knew them and had heard of none.
    Raises LtkError where not all get one.
    """
    folder = folder / f"crowd{clients}"
    folder.mkdir()
    with lone_place("crowd") as place:
        place.ip("address add 10.90.0.0/16 dev lo")  # a whole network of local addresses
        keys = [private_key_from_random(os.urandom(32)) for _ in range(clients)]
        server_key = ltk_nodes.make_key(folder / "hub.key")
        config = ltk_nodes.daemon_config(
            folder,
            "hub",
            Role.SERVER,
            str(INSIDE),
            [peer_of(n, key) for n, key in enumerate(keys)],
            prefix=16,
        )
        with ltk_nodes.daemon(place, config, folder) as pid, contextlib.closing(Crowd()) as crowd:
            bare = memory([pid])
            before = cpu_seconds([pid])
            begin = time.monotonic()
            crowd.start(place, keys, decode_key(server_key))
            crowd.run_until_up(begin + UP_LIMIT)
            up = time.monotonic() - begin
            values = {"up_s": up, "up_cpu_s": cpu_seconds([pid]) - before}
            settled = time.monotonic() + min(KEEPALIVE, idle_seconds)  # what follows a handshake is not idle
            crowd.run(until=settled)
            before, begin = cpu_seconds([pid]), time.monotonic()
            crowd.run(until=begin + idle_seconds)
            used = cpu_seconds([pid]) - before
            values["idle_cpu_percent"] = 100 * used / (time.monotonic() - begin)
            values["idle_us_per_client"] = 1e4 * values["idle_cpu_percent"] / clients  # of each second
            begin = time.perf_counter()
            ask(config.control, {"do": "status"})
            values["status_s"] = time.perf_counter() - begin
            size = memory([pid])
            values["kb_per_client"] = (size.pss - bare.pss) / 1e3 / clients
            return values | {"rss_mb": size.rss / 1e6, "pss_mb": size.pss / 1e6}


def _inside(number: int) -> IPv4Address:
    return INSIDE + 1 + number


def peer_of(number: int, key: bytes) -> PeerSettings:
    """What the server is told of the client of that number."""
    return PeerSettings(
        name=f"crowd-{number}",
        role=Role.CLIENT,
        public_key=encode_key(public_key_of(key)),
        preshared_key_file=None,
        endpoint=None,
        allowed_ips=(ip_network(_inside(number)),),
        keepalive=0,
    )


class Crowd:
    """The clients: engines, each with its socket, and one loop for all."""

    def __init__(self) -> None:
        self._engines: dict[int, Engine] = {}  # by the socket's descriptor
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._due: list[tuple[float, int]] = []
        self._without: set[int] = set()  # descriptors of those that have no session yet

    def start(self, place: Place, keys: list[bytes], server_key: bytes, port: int = ltk_nodes.PORT) -> None:
        """Make a client for each key; each asks for a session at once, of the server's `port` in `place`."""
        for number, key in enumerate(keys):
            with netns.inside(place.namespace):
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            udp.bind((str(OUTSIDE + 1 + number), 0))
            server = PeerConfig(
                "hub",
                server_key,
                endpoint=Endpoint(str(OUTSIDE), port),
                allowed_ips=(ip_network("10.91.0.0/16"),),
                keepalive=KEEPALIVE,
                kind=PeerKind.SERVER,
            )
            config = EngineConfig(key, MTU, False, False, (ip_address(_inside(number)),), (server,))
            now = time.monotonic()
            descriptor = udp.fileno()
            self._sockets[descriptor] = udp
            self._engines[descriptor] = Engine(config, now=now, wall_clock=time.time(), random=os.urandom)
            self._without.add(descriptor)
            self._epoll.register(descriptor, select.EPOLLIN)
            self._drain(descriptor)
            self._turn(now)

    def run_until_up(self, deadline: float) -> None:
        """Run until every client has a session; raises LtkError where that takes longer."""
        while self._without:
            if time.monotonic() > deadline:
                lacking = f"{len(self._without)} of {len(self._engines)} have none"
                raise LtkError("waiting for sessions", lacking)
            self._turn(time.monotonic() + 0.1)

    def run(self, until: float) -> None:
        """Do what the clients do by themselves, until that time."""
        while time.monotonic() < until:
            self._turn(until)

    def close(self) -> None:
        """Close all sockets."""
        self._epoll.close()
        for each in self._sockets.values():
            each.close()

    def _turn(self, until: float) -> None:
        """Take what has come and do what is due; wait for that until `until` at most."""
        next_due = min(until, self._due[0][0]) if self._due else until
        for descriptor, _ in self._epoll.poll(max(0.0, next_due - time.monotonic())):
            self._receive(descriptor)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, descriptor = heapq.heappop(self._due)
            wanted = self._engines[descriptor].next_timeout()
            if wanted is not None and wanted <= now:
                self._engines[descriptor].handle_timeout(now)
                self._drain(descriptor)
            elif wanted is not None:
                heapq.heappush(self._due, (wanted, descriptor))

    def _receive(self, descriptor: int) -> None:
        try:
            data, (host, port) = self._sockets[descriptor].recvfrom(LARGEST)
        except BlockingIOError:
            return
        self._engines[descriptor].handle_datagram(memoryview(data), Endpoint(host, port), time.monotonic())
        self._drain(descriptor)

    def _drain(self, descriptor: int) -> None:
        engine, udp = self._engines[descriptor], self._sockets[descriptor]
        while (transmit := engine.poll_transmit()) is not None:
            for data in datagrams(transmit):
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    udp.sendto(data, (transmit.to.address, transmit.to.port))
        while (event := engine.poll_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self._without.discard(descriptor)
        while engine.poll_deliver() is not None:
            pass
        due = engine.next_timeout()
        if due is not None:
            heapq.heappush(self._due, (due, descriptor))
