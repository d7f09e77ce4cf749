"""Real engines in a simulated world: hosts behind NATs, a server, and a clock that jumps.

Every packet is a real IPv4 packet with a serial number, so that the world knows what was delivered: nothing
twice, nothing elsewhere, nothing altered. Every datagram carries, unseen by the engines, what the
sender had heard when: so the world also knows over which endpoint a round trip was possible, and
that data went straight to another client only there. Whatever breaks one of these rules fails the
test where it happens, with the seed and the time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sim_net import INTERNET_DELAY, Clock, Datagram, Nat, NatKind, Segment, Wire
from sim_packets import BULKY, PACKET_SIZE, Flow, Ledger, Packet
from sim_streams import Streams

from ltk.protocol.config import HardNat, P2p, PathPolicy, PeerKind, TransportMode
from ltk.protocol.directory import Directory
from ltk.protocol.engine import Endpoint, Engine, EngineConfig, PeerConfig
from ltk.protocol.events import Event, PathChanged, PeerStatus
from ltk.protocol.messages import STUN_SOCKET, Place
from ltk.protocol.outbox import datagrams
from ltk.protocol.primitives import private_key_from_random, public_key_of

WALL_CLOCK = 1_700_000_000.0  # Unix time at which the world's clock was zero
MTU = 1380
PORT = 51820
STUN_PORT = 3478  # of the server's second socket
KEEPALIVE = 20.0  # seconds, from each client to the server
TUNNEL = IPv4Network("10.0.0.0/16")
HOPS = 64  # Linux's net.ipv4.ip_default_ttl
PROOF_LIFETIME = 25.0  # seconds: an idle path is probed every 18 s, and given up after three tries of 1 s
_LOOK_EVERY = 0.010  # seconds, while something is awaited
_TRANSPORT_DATA = 4


@dataclass(slots=True)
class Counts:
    """Datagrams that a node has sent since it was made, by where they went."""

    to_server: int = 0
    to_clients: int = 0
    bulky_to_server: int = 0
    bulky_to_clients: int = 0


@dataclass
class Node:
    """A host with one engine on it, which comes and goes."""

    world: Simulation
    name: str
    tunnel_address: IPv4Address
    segment: Segment
    address: str
    nat_kind: NatKind | None = None
    p2p: P2p = P2p.ON_DEMAND
    hard_nat: HardNat = HardNat.BIRTHDAY
    path: PathPolicy = PathPolicy.AUTO
    transport: TransportMode = TransportMode.AUTO
    port: int = PORT
    engine: Engine | None = None
    events: list[tuple[float, Event]] = field(default_factory=list)
    sent: Counts = field(default_factory=Counts)
    heard: dict[Endpoint, float] = field(default_factory=dict)  # when each source was last heard
    proven: dict[Endpoint, float] = field(default_factory=dict)  # up to when both directions had worked
    ways: dict[str, Place | None] = field(default_factory=dict)  # by peer, as the events had it
    started: float = math.inf
    on_transmit: Callable[[bytes, Endpoint], None] | None = None
    ports: dict[int, int] = field(default_factory=dict)  # of the sockets beside the main one, by number
    opened: int = 0  # of those, since the node was made
    late: float = 0.0  # seconds; how much later than it is due its machine comes to a timer
    _wake: float = math.inf

    def __post_init__(self) -> None:
        self.segment.devices[self.address] = self

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @cached_property
    def keys(self) -> tuple[bytes, bytes]:
        """The private and public key: always the same for a name."""
        private = private_key_from_random(blake2s(self.name.encode()).digest())
        return private, public_key_of(private)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, self.port)

    @property
    def public_address(self) -> str:
        """The address from which the internet sees this host."""
        nat = self.segment.gateway
        while nat is not None and nat.outside.gateway is not None:
            nat = nat.outside.gateway
        return self.address if nat is None else nat.address

    # Life and death.

    def start(self) -> None:
        """Start a new engine, which knows nothing but its configuration."""
        assert self.engine is None, f"{self.name} is up already"
        world = self.world
        self.heard.clear()
        self.proven.clear()
        self.ways.clear()
        self.ports = {STUN_SOCKET: STUN_PORT} if self is world.server else {}
        self.started = world.now
        self.engine = Engine(
            world.config_of(self),
            now=world.now,
            wall_clock=WALL_CLOCK + world.now,
            random=world.random.randbytes,
            directory=world.directory_of(self),
        )
        self.engine.set_local_endpoints((self.endpoint,), world.now)
        self.drain()

    def stop(self, *, clean: bool = False) -> None:
        """Take the engine away; a clean stop tells the others."""
        assert self.engine is not None, f"{self.name} is down already"
        if clean:
            self.engine.shutdown(self.world.now)
            self.drain()
        self.engine = None
        self._wake = math.inf
        self.world.streams.close_all_of(self)

    def restart(self, *, port: int | None = None, down: float = 0.05) -> None:
        """Crash now and start anew `down` seconds later, with no memory."""
        self.stop()
        if port is not None:
            self.port = port
        self.world.after(down, self.start)

    def move(self, segment: Segment, address: str) -> None:
        """Be on another network from now on, with the same engine and port."""
        del self.segment.devices[self.address]
        self.segment, self.address = segment, address
        segment.devices[address] = self
        if self.engine is not None:
            self.engine.set_local_endpoints((self.endpoint,), self.world.now)
            self.drain()

    # What goes in and out of the engine.

    def send(self, destination: Node, *, is_ping: bool = False, size: int = PACKET_SIZE) -> Packet:
        """Hand the engine a packet for `destination`, as the kernel would through the TUN."""
        packet = self.world.ledger.new(self, destination, size)
        packet.is_ping = is_ping
        self._hand_over(packet)
        return packet

    def _hand_over(self, packet: Packet) -> None:
        assert self.engine is not None, f"{self.name} is down"
        packet.drop = self.engine.handle_packet(memoryview(packet.data), self.world.now)
        self.drain()

    def receive(self, datagram: Datagram) -> None:
        """Take a datagram that has arrived."""
        world = self.world
        numbers = {self.port: 0} | {port: number for number, port in self.ports.items()}
        if self.engine is None or datagram.destination.port not in numbers:
            return
        source = datagram.source._replace(socket=numbers[datagram.destination.port])
        self.heard[source] = world.now
        if datagram.proof >= self.started:
            self.proven[source] = max(datagram.proof, self.proven.get(source, -math.inf))
        world.arrived[datagram.origin, self.name] += 1
        if len(datagram.data) >= BULKY:
            world.bulky[datagram.origin, self.name] += 1
        self.engine.handle_datagram(memoryview(datagram.data), source, world.now)
        self.drain()

    def drain(self) -> None:
        """Fetch what the engine has to say, in the order in which it wants to be asked."""
        engine, world = self.engine, self.world
        assert engine is not None, f"{self.name} is down"
        answers: list[Packet] = []
        while (transmit := engine.poll_transmit()) is not None:
            for data in datagrams(transmit):
                self.transmit(bytes(data), transmit.to, transmit.hops)
        while (delivered := engine.poll_deliver()) is not None:
            packet = world.ledger.delivered(self, bytes(delivered))
            if packet.is_ping:
                answers.append(packet)
        while (stream := engine.poll_connect()) is not None:
            world.streams.connect(self, stream)
        while (number := engine.poll_closed()) is not None:
            self.ports.pop(number, None)
            world.streams.close(self, number)
        while (event := engine.poll_event()) is not None:
            self.events.append((world.now, event))
            if isinstance(event, PathChanged):
                self.ways[event.peer] = event.new
        due = engine.next_timeout()
        if due is not None and due < self._wake:
            self._wake = due
            world.at(due + self.late, self._expire, due)
        for request in answers:
            answer = world.ledger.new(self, request.source, len(request.data))
            answer.request = request
            self._hand_over(answer)

    def transmit(self, data: bytes, destination: Endpoint, hops: int = 0) -> None:
        """Put a datagram on the wire, from the socket that the destination says."""
        world, sent = self.world, self.sent
        if self.on_transmit is not None:
            self.on_transmit(data, destination)
        if destination.is_stream:
            world.streams.send(self, data, destination)
            return
        is_bulky = len(data) >= BULKY
        server = world.server
        if self is not server and (destination.address != server.address):
            sent.to_clients += 1
            sent.bulky_to_clients += is_bulky
            if is_bulky or data[0] not in (1, 2, 3, _TRANSPORT_DATA):
                self._check_proven(destination, data)
        else:
            sent.to_server += 1
            sent.bulky_to_server += is_bulky
        proof = self.heard.get(destination, -math.inf)
        source = self._source(destination.socket)
        self.segment.send(
            Datagram(self.name, source, destination._replace(socket=0), data, proof, hops or HOPS)
        )

    def _source(self, number: int) -> Endpoint:
        """Where a socket is, which is opened if need be, on a port that is free."""
        if not number:
            return self.endpoint
        if number not in self.ports:
            free = (self.world.random.randrange(32768, 61000) for _ in iter(int, 1))
            self.ports[number] = next(port for port in free if port not in {self.port, *self.ports.values()})
            self.opened += 1
        return Endpoint(self.address, self.ports[number])

    def _check_proven(self, destination: Endpoint, data: bytes) -> None:
        age = self.world.now - self.proven.get(destination, -math.inf)
        self.world.check(
            age <= PROOF_LIFETIME and data[0] == _TRANSPORT_DATA,
            f"{self.name} sent data of kind {data[0]} straight to {destination}, last proven {age:.3f} s ago",
        )

    def _expire(self, moment: float) -> None:
        if moment != self._wake or self.engine is None:
            return
        self._wake = math.inf
        self.engine.handle_timeout(self.world.now)
        due = self.engine.next_timeout()
        self.world.check(
            due is None or due > self.world.now, f"a timer of {self.name} is due for ever at {due}"
        )
        self.drain()

    # What the engine says of itself.

    def status(self, peer: Node) -> PeerStatus:
        """The engine's view of a peer."""
        assert self.engine is not None, f"{self.name} is down"
        return next(s for s in self.engine.status(self.world.now) if s.name == peer.name)

    def is_direct(self, peer: Node) -> bool:
        """Whether the engine has said that packets for `peer` take a direct path."""
        return self.engine is not None and isinstance(self.ways.get(peer.name), Endpoint)

    def candidates(self, peer: Node) -> list[Endpoint]:
        """The endpoints at which the engine thinks that a peer may be reached."""
        assert self.engine is not None, f"{self.name} is down"
        known = self.engine.why(peer.keys[1], self.world.now)
        return [one.endpoint for one in known if isinstance(one.endpoint, Endpoint)]

    def events_of(self, kind: type) -> list[tuple[float, Any]]:
        """The events of one kind since the node was made, with their times."""
        return [(at, event) for at, event in self.events if isinstance(event, kind)]


class Simulation(Clock):
    """The clock, the internet, the server, the clients and their packets."""

    def __init__(self, seed: int = 1, *, isolation: bool = False) -> None:
        super().__init__(seed)
        self.seed = seed
        self.isolation = isolation
        self.internet = Segment(self, Wire(INTERNET_DELAY))
        self.ledger = Ledger(self)
        self.arrived: Counter[tuple[str, str]] = Counter()  # datagrams by origin and receiver
        self.bulky: Counter[tuple[str, str]] = Counter()  # those that carry packets
        self._sites = 0
        self.streams = Streams(self)
        self.server = Node(self, "server", TUNNEL[254], self.internet, "203.0.113.1")
        self.clients: list[Node] = []

    # Who is there.

    def site(self, kind: NatKind, outside: Segment | None = None) -> Segment:
        """A new LAN behind a NAT of its own; all LANs use the same private addresses."""
        return Nat(kind, self.new_public_address(), outside or self.internet).inside

    def new_public_address(self) -> str:
        """An address of the internet that nobody has."""
        self._sites += 1
        return f"198.51.{self._sites // 250}.{self._sites % 250 + 1}"

    def client(self, name: str, nat: NatKind | Segment | None = None, **options: Any) -> Node:
        """A new host on the internet, behind a NAT of its own, or on a LAN that there is."""
        number = len(self.clients) + 1
        segment = self.site(nat) if isinstance(nat, NatKind) else nat or self.internet
        if segment is self.internet:
            address = self.new_public_address()
        else:
            address = f"192.168.1.{10 + sum(isinstance(d, Node) for d in segment.devices.values())}"
        kind = segment.gateway.kind if segment.gateway is not None else None
        node = Node(self, name, TUNNEL[number], segment, address, kind, **options)
        self.clients.append(node)
        return node

    def start(self, *nodes: Node) -> None:
        """Start the nodes given, or all that are down."""
        for node in nodes or (self.server, *self.clients):
            if node.engine is None:
                node.start()

    def config_of(self, node: Node) -> EngineConfig:
        """What the reconciler would tell this node."""
        if node is self.server:
            peers = tuple(
                PeerConfig(client.name, client.keys[1], allowed_ips=_host(client), kind=PeerKind.CLIENT)
                for client in self.clients
            )
        else:
            others = () if self.isolation else (other for other in self.clients if other is not node)
            peers = (self.server_as_peer(node), *(self.client_as_peer(node, other) for other in others))
        return EngineConfig(
            private_key=node.keys[0],
            mtu=MTU,
            forward=node is self.server,
            isolation=self.isolation and node is self.server,
            addresses=(node.tunnel_address,),
            peers=peers,
            stun_port=STUN_PORT if node is self.server else 0,
        )

    def directory_of(self, node: Node) -> Directory | None:
        """Who may turn up at this node without being configured."""
        return None

    def server_as_peer(self, node: Node) -> PeerConfig:
        """The server in the configuration of `node`."""
        return PeerConfig(
            "server",
            self.server.keys[1],
            endpoint=self.server.endpoint,
            allowed_ips=(TUNNEL,),
            keepalive=KEEPALIVE,
            kind=PeerKind.SERVER,
            transport=node.transport,
        )

    def client_as_peer(self, node: Node, other: Node) -> PeerConfig:
        """Another client in the configuration of `node`."""
        return PeerConfig(
            other.name,
            other.keys[1],
            allowed_ips=_host(other),
            kind=PeerKind.CLIENT,
            p2p=P2p.OFF if P2p.OFF in (node.p2p, other.p2p) else node.p2p,
            hard_nat=min(node.hard_nat, other.hard_nat, key=list(HardNat).index),
            path=node.path,
        )

    # What the world knows.

    def check(self, holds: bool, broken: str) -> None:
        """Fail where a rule of the world is broken."""
        if not holds:
            raise AssertionError(f"seed {self.seed}, at {self.now:.3f}: {broken}")

    def check_claims(self) -> None:
        """Fail where a node says that a path is direct over which no round trip was possible lately.

        What a node is asked and what it has reported must be the same.
        """
        for node in self.clients:
            if node.engine is None:
                continue
            for status in node.engine.status(self.now):
                if status.name == "server" or status.path != "direct":
                    continue
                endpoint = status.endpoint
                reported = node.ways.get(status.name)
                self.check(endpoint == reported, f"{node.name} reported {reported} and claims {endpoint}")
                assert endpoint is not None
                age = self.now - node.proven.get(endpoint, -math.inf)
                self.check(
                    age <= PROOF_LIFETIME,
                    f"{node.name} claims {status.name} at {endpoint}, last proven {age:.3f} s ago",
                )

    # What happens to it.

    def block(self, one: Node, other: Node, *, one_way: bool = False) -> None:
        """Let nothing pass on the internet from the one's address to the other's, nor back."""
        self.internet.blocked.add((one.public_address, other.public_address))
        if not one_way:
            self.internet.blocked.add((other.public_address, one.public_address))

    def unblock(self, one: Node, other: Node) -> None:
        """Let everything pass again."""
        pair = (one.public_address, other.public_address)
        self.internet.blocked -= {pair, pair[::-1]}

    def flow(self, source: Node, destination: Node, every: float = 0.1) -> Flow:
        """Start to ping, the first one now."""
        return Flow(self, source, destination, every)

    # The clock.

    def run(self, seconds: float) -> None:
        """Let time pass, with everything that is due in it, in order."""
        end = self.now + seconds
        while self.step(end):
            pass
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float, awaited: str) -> float:
        """Let time pass until `condition` holds; fail where it does not in `within` seconds."""
        start = self.now
        while not condition():
            self.check(self.now < start + within, f"waited {within} s for: {awaited}")
            self.run(min(_LOOK_EVERY, start + within - self.now))
        return self.now - start

    def run_until_direct(self, one: Node, other: Node, within: float) -> float:
        """Let time pass until both sides say that they send directly."""
        return self.run_until(
            lambda: one.is_direct(other) and other.is_direct(one),
            within,
            f"a direct path between {one.name} and {other.name}",
        )


def _host(node: Node) -> tuple[IPv4Network]:
    return (IPv4Network(node.tunnel_address),)
