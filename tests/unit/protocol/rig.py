"""Engines on a simulated wire, under a simulated clock: nothing sleeps, nothing is left to chance."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import ip_address, ip_network

from ltk.protocol.engine import Drop, Endpoint, Engine, EngineConfig, PeerConfig
from ltk.protocol.events import Event, PeerStatus
from ltk.protocol.outbox import datagrams
from ltk.protocol.primitives import private_key_from_random, public_key_of

WALL_CLOCK = 1_700_000_000.0
MTU = 1380


@dataclass
class Wire:
    """What happens to datagrams: seconds and probabilities. `lose` decides about single ones."""

    delay: float = 0.010
    jitter: float = 0.0  # added at random: more than the gap between two datagrams reorders them
    loss: float = 0.0
    duplicate: float = 0.0
    lose: Callable[[Sent], bool] | None = None


@dataclass(frozen=True)
class Sent:
    """A datagram that an engine or a test sent."""

    at: float
    source: Endpoint
    destination: Endpoint
    data: bytes

    @property
    def kind(self) -> int:
        return self.data[0]


@dataclass(order=True)
class _Arrival:
    at: float
    order: int
    sent: Sent = field(compare=False)


class Node:
    """An engine with its place on the wire, and all that came out of it."""

    def __init__(self, world: World, name: str, endpoint: Endpoint, config: EngineConfig) -> None:
        self.world = world
        self.name = name
        self.endpoint = endpoint
        self.config = config
        self.delivered: list[bytes] = []
        self.events: list[tuple[float, Event]] = []
        self.engine = Engine(
            config, now=world.now, wall_clock=WALL_CLOCK + world.now, random=world.random.randbytes
        )
        self.drain()

    def send(self, packet: bytes) -> Drop | None:
        drop = self.engine.handle_packet(memoryview(packet), self.world.now)
        self.drain()
        return drop

    def receive(self, data: bytes, source: Endpoint) -> Drop | None:
        drop = self.engine.handle_datagram(memoryview(data), source, self.world.now)
        self.drain()
        return drop

    def configure(self, **changes: object) -> None:
        self.config = replace(self.config, **changes)
        self.engine.configure(self.config, self.world.now)
        self.drain()

    def configure_peer(self, which: str, **changes: object) -> None:
        peers = (replace(peer, **changes) if peer.name == which else peer for peer in self.config.peers)
        self.configure(peers=tuple(peers))

    def expire(self) -> None:
        self.engine.handle_timeout(self.world.now)
        self.drain()

    def drain(self) -> None:
        while (transmit := self.engine.poll_transmit()) is not None:
            for data in datagrams(transmit):
                self.world.transmit(Sent(self.world.now, self.endpoint, transmit.to, bytes(data)))
        while (packet := self.engine.poll_deliver()) is not None:
            self.delivered.append(bytes(packet))
        while (event := self.engine.poll_event()) is not None:
            self.events.append((self.world.now, event))

    def events_of(self, kind: type) -> list[tuple[float, Event]]:
        return [(at, event) for at, event in self.events if isinstance(event, kind)]

    def status(self, peer: str) -> PeerStatus:
        return next(status for status in self.engine.status(self.world.now) if status.name == peer)

    def peer(self, name: str) -> object:
        """The engine's own record of a peer, for what the interface does not tell."""
        return next(peer for peer in self.engine._peers.values() if peer.config.name == name)

    def rekey(self, peer: str) -> None:
        self.peer(peer).want_handshake(self.world.now)
        self.drain()

    def session(self, peer: str):
        return self.peer(peer).keyring.current


class World:
    """The clock, the wire, and the nodes on it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.wire = Wire()
        self.nodes: dict[str, Node] = {}
        self.sent: list[Sent] = []
        self.keep_log = True
        self._arrivals: list[_Arrival] = []
        self._order = itertools.count()

    def add(
        self, name: str, endpoint: Endpoint, private_key: bytes, *peers: PeerConfig, **options: object
    ) -> Node:
        config = EngineConfig(
            private_key=private_key,
            mtu=int(options.pop("mtu", MTU)),
            forward=bool(options.pop("forward", False)),
            isolation=bool(options.pop("isolation", False)),
            addresses=tuple(ip_address(text) for text in options.pop("addresses")),
            peers=peers,
            offloads=bool(options.pop("offloads", False)),
        )
        self.nodes[name] = Node(self, name, endpoint, config)
        return self.nodes[name]

    def private_key(self) -> bytes:
        return private_key_from_random(self.random.randbytes(32))

    # The wire.

    def transmit(self, sent: Sent) -> None:
        if self.keep_log:
            self.sent.append(sent)
        wire = self.wire
        if self.random.random() < wire.loss or (wire.lose is not None and wire.lose(sent)):
            return
        for _ in range(2 if self.random.random() < wire.duplicate else 1):
            at = self.now + wire.delay + self.random.random() * wire.jitter
            heapq.heappush(self._arrivals, _Arrival(at, next(self._order), sent))

    def inject(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        self.transmit(Sent(self.now, source, destination, data))

    def sent_by(self, node: Node, kind: int | None = None) -> list[Sent]:
        return [s for s in self.sent if s.source == node.endpoint and kind in (None, s.kind)]

    # The clock.

    def run(self, seconds: float) -> None:
        """Let time pass, with everything that is due in it, in order."""
        self.run_until_time(self.now + seconds)

    def run_until_time(self, end: float) -> None:
        while self._step(end):
            pass
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float, awaited: str) -> None:
        """Let time pass until `condition` holds; fail where it does not in `within` seconds."""
        end = self.now + within
        while not condition():
            assert self._step(end), f"waited {within} s for: {awaited}"

    def _step(self, end: float) -> bool:
        timeouts = ((n.engine.next_timeout(), n.name) for n in self.nodes.values())
        timeout, name = min(((t, n) for t, n in timeouts if t is not None), default=(float("inf"), ""))
        arrival = self._arrivals[0].at if self._arrivals else float("inf")
        if min(timeout, arrival) > end:
            return False
        # A timer may be due already, never an arrival: the clock does not go back.
        self.now = max(self.now, min(timeout, arrival))
        if timeout < arrival:
            self.nodes[name].expire()
        else:
            sent = heapq.heappop(self._arrivals).sent
            for node in self.nodes.values():
                if node.endpoint == sent.destination:
                    node.receive(sent.data, sent.source)
        return True


# Ready-made networks.

A = Endpoint("192.0.2.1", 1001)
B = Endpoint("198.51.100.2", 2002)
HUB = Endpoint("203.0.113.9", 9000)
STRANGER = Endpoint("192.0.2.66", 6666)


def networks(*texts: str) -> tuple:
    return tuple(ip_network(text) for text in texts)


def make_pair(
    world: World, *, psk: bytes = bytes(32), keepalive: float = 0.0, b_knows_a: bool = True
) -> tuple[Node, Node]:
    """Two nodes, a with 10.0.0.1 and b with 10.0.0.2; each knows where the other is."""
    a_key, b_key = world.private_key(), world.private_key()
    to_b = PeerConfig("b", public_key_of(b_key), psk, B, networks("10.0.0.2/32", "fd00::2/128"), keepalive)
    to_a = PeerConfig(
        "a", public_key_of(a_key), psk, A if b_knows_a else None, networks("10.0.0.1/32", "fd00::1/128")
    )
    b = world.add("b", B, b_key, to_a, addresses=["10.0.0.2", "fd00::2"])
    a = world.add("a", A, a_key, to_b, addresses=["10.0.0.1", "fd00::1"])
    return a, b


def make_star(world: World, *, isolation: bool = False) -> tuple[Node, Node, Node]:
    """A forwarding hub (10.0.0.254) that learns where its clients a (10.0.0.1) and b (10.0.0.2) are."""
    hub_key, a_key, b_key = world.private_key(), world.private_key(), world.private_key()
    to_a = PeerConfig("a", public_key_of(a_key), allowed_ips=networks("10.0.0.1/32"))
    to_b = PeerConfig("b", public_key_of(b_key), allowed_ips=networks("10.0.0.2/32", "192.168.7.0/24"))
    to_hub = PeerConfig(
        "hub", public_key_of(hub_key), endpoint=HUB, allowed_ips=networks("0.0.0.0/0"), keepalive=20
    )
    hub = world.add(
        "hub", HUB, hub_key, to_a, to_b, addresses=["10.0.0.254"], forward=True, isolation=isolation
    )
    a = world.add("a", A, a_key, to_hub, addresses=["10.0.0.1"])
    b = world.add("b", B, b_key, to_hub, addresses=["10.0.0.2"])
    world.run(1.0)
    return hub, a, b


def packet(source: str, destination: str, payload: bytes = b"", *, size: int | None = None) -> bytes:
    """A minimal IP packet; with `size`, its whole length."""
    from_, to = ip_address(source), ip_address(destination)
    header = 20 if from_.version == 4 else 40
    body = payload if size is None else payload.ljust(size - header, b"x")
    if from_.version == 4:
        return b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + bytes(8) + from_.packed + to.packed + body
    return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x3b\x40" + from_.packed + to.packed + body


def a_to_b(number: int = 0, *, size: int | None = None) -> bytes:
    return packet("10.0.0.1", "10.0.0.2", number.to_bytes(8, "big"), size=size)


def b_to_a(number: int = 0, *, size: int | None = None) -> bytes:
    return packet("10.0.0.2", "10.0.0.1", number.to_bytes(8, "big"), size=size)


def connect(world: World, a: Node, b: Node) -> None:
    """Let a pair shake hands and say all that it says unasked."""
    assert a.send(a_to_b(0)) is None
    world.run_until(lambda: a_to_b(0) in b.delivered, 5.0, "the first packet")
    world.run(1.0)
    b.delivered.clear()


def fresh(sent: list[Sent], since: float) -> list[Sent]:
    return [s for s in sent if s.at >= since]


# The state of an engine as one number.

_COUNTERS = {"drops", "_load", "_cache", "_buffer", "_used", "_scratch"}  # neither keys, nor peers, nor times


def digest(engine: Engine) -> str:
    """Hash everything that an engine knows, except counters, caches and scratch memory."""
    hasher = hashlib.blake2s()
    for part in _walk(engine, set()):
        hasher.update(part.encode())
    return hasher.hexdigest()


def _walk(value: object, seen: set[int]) -> Iterator[str]:
    if value is None or isinstance(value, int | float | str | bytes | Enum):
        yield f"{value!r};"
    elif id(value) in seen:
        yield "again;"
    else:
        seen.add(id(value))
        yield f"{type(value).__name__}("
        if isinstance(value, dict):
            for key, item in value.items():
                yield from _walk(key, seen)
                yield from _walk(item, seen)
        elif isinstance(value, list | tuple | set | frozenset) or type(value).__name__ == "deque":
            for item in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
                yield from _walk(item, seen)
        else:
            slots = [s for kind in type(value).__mro__ for s in getattr(kind, "__slots__", ())]
            for name in sorted({*slots, *getattr(value, "__dict__", {})} - _COUNTERS - {"__weakref__"}):
                if hasattr(value, name) and not callable(getattr(value, name)):
                    yield f"{name}="
                    yield from _walk(getattr(value, name), seen)
        yield ")"
