"""The protocol alone, without sockets and devices: sealing, opening and handshakes, in one thread.

Times are CPU time: nothing here waits, and what else the machine does is no concern.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from places import MTU

from ltk.protocol.engine import Endpoint, Engine, EngineConfig, PeerConfig
from ltk.protocol.events import Event, HandshakeCompleted
from ltk.protocol.outbox import Transmit, datagrams
from ltk.protocol.primitives import private_key_from_random, public_key_of
from ltk.protocol.session import REKEY_AFTER_TIME
from ltk.protocol.vnet import (
    GSO_TCP4,
    HEADROOM,
    NEEDS_CSUM,
    TAILROOM,
    TCP,
    TCP_CHECKSUM,
    VNET_SIZE,
    Packet,
    pack_vnet_into,
)

A, B = Endpoint("192.0.2.1", 1001), Endpoint("192.0.2.2", 1002)
WALL_CLOCK = 1_700_000_000.0  # any
PACKETS = 20_000  # of one size
BURSTS = 500
HANDSHAKES = 300
APART = REKEY_AFTER_TIME + 1.0  # simulated seconds between two packets, each of which asks for a handshake
HEADERS = 40  # bytes; IPv4 and TCP
SEGMENT = MTU - HEADERS  # bytes
SLICES = 46  # of a super-packet, which has room for no more in 64 KiB


@dataclass
class Clock:
    """Simulated time, in seconds."""

    now: float = 1000.0


class Ends:
    """Two engines that have shaken hands, and take what the other sends."""

    def __init__(self, seed: int) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self._random = random.Random(seed)
        keys = [private_key_from_random(self._random.randbytes(32)) for _ in range(2)]
        self.a = self._engine(keys[0], "10.60.0.1", public_key_of(keys[1]), "10.60.0.2", B)
        self.b = self._engine(keys[1], "10.60.0.2", public_key_of(keys[0]), "10.60.0.1", None)
        self.a.handle_packet(memoryview(_plain(64)), self.clock.now)
        self.settle()

    def _engine(self, key: bytes, own: str, other_key: bytes, other: str, to: Endpoint | None) -> Engine:
        peer = PeerConfig("other", other_key, endpoint=to, allowed_ips=(ip_network(other),))
        config = EngineConfig(key, MTU, False, False, (ip_address(own),), (peer,), offloads=True)
        return Engine(config, now=self.clock.now, wall_clock=WALL_CLOCK, random=self._random.randbytes)

    def settle(self) -> None:
        """Carry everything across until nobody has more to say."""
        busy = True
        while busy:
            busy = False
            for engine, other, source in ((self.a, self.b, A), (self.b, self.a, B)):
                for data in _sent(engine):
                    other.handle_datagram(memoryview(data), source, self.clock.now)
                    busy = True
                while engine.poll_deliver() is not None:
                    busy = True
                while engine is self.a and (event := engine.poll_event()) is not None:
                    self.events.append(event)

    def handshake(self) -> None:
        """A packet on an old session, and the handshake that it asks for, both sides of it."""
        self.clock.now += APART
        self.a.handle_packet(memoryview(_plain(64)), self.clock.now)
        self.settle()

    @property
    def handshakes(self) -> int:
        """How many have been completed."""
        return sum(isinstance(event, HandshakeCompleted) for event in self.events)


def measure() -> dict[str, float]:
    """Packets and datagrams a second, sealed and opened, and handshakes a second, both sides together."""
    values: dict[str, float] = {}
    for size in (64, MTU):
        sealed, opened = _single(size)
        values |= {f"seal_{size}_pps": sealed, f"open_{size}_pps": opened}
    values["seal_burst_pps"], values["open_burst_pps"] = _bursts()
    values["handshakes_per_s"] = _handshakes()
    return values


def _single(size: int) -> tuple[float, float]:
    """Complete packets, one by one."""
    ends = Ends(seed=1)
    packet = memoryview(_plain(size))
    sent = []
    begin = time.process_time()
    for _ in range(PACKETS):
        ends.a.handle_packet(packet, ends.clock.now)
        sent += [bytes(transmit.data) for transmit in _transmits(ends.a)]
    sealed = time.process_time() - begin
    assert len(sent) == PACKETS, f"{len(sent)} datagrams were sent"
    delivered = 0
    begin = time.process_time()
    for data in sent:
        ends.b.handle_datagram(memoryview(data), A, ends.clock.now)
        delivered += ends.b.poll_deliver() is not None
    opened = time.process_time() - begin
    assert delivered == PACKETS, f"{delivered} packets were delivered"
    return PACKETS / sealed, PACKETS / opened


def _bursts() -> tuple[float, float]:
    """Super-packets; counted are the datagrams that each is cut into."""
    ends = Ends(seed=2)
    framed = _super_packet()
    seal = open_ = 0.0
    for _ in range(BURSTS):
        packet = _copy_of(framed)
        begin = time.process_time()
        ends.a.handle_vnet_packet(packet, ends.clock.now)
        sent = _transmits(ends.a)
        seal += time.process_time() - begin
        begin = time.process_time()
        delivered = 0
        for transmit in sent:
            data = memoryview(transmit.data)
            ends.b.handle_burst(data, transmit.size or len(data), A, ends.clock.now)
            while (packet_out := ends.b.poll_deliver()) is not None:
                delivered += len(packet_out) - VNET_SIZE - HEADERS
        open_ += time.process_time() - begin
        assert delivered == SLICES * SEGMENT, f"{delivered} bytes were delivered"
    return BURSTS * SLICES / seal, BURSTS * SLICES / open_


def _handshakes() -> float:
    ends = Ends(seed=3)
    before = ends.handshakes
    begin = time.process_time()
    for _ in range(HANDSHAKES):
        ends.handshake()
    spent = time.process_time() - begin
    assert ends.handshakes - before == HANDSHAKES, f"{ends.handshakes - before} handshakes were completed"
    return HANDSHAKES / spent


def _transmits(engine: Engine) -> list[Transmit]:
    found = []
    while (transmit := engine.poll_transmit()) is not None:
        found.append(transmit)
    return found


def _sent(engine: Engine) -> list[bytes]:
    return [bytes(data) for transmit in _transmits(engine) for data in datagrams(transmit)]


def _ipv4(size: int, protocol: int) -> bytes:
    addresses = ip_address("10.60.0.1").packed + ip_address("10.60.0.2").packed
    return b"\x45\0" + size.to_bytes(2, "big") + bytes(4) + bytes((64, protocol, 0, 0)) + addresses


def _plain(size: int) -> bytes:
    """A packet of a protocol that nobody looks into (RFC 3692)."""
    return _ipv4(size, 253) + bytes(size - 20)


def _super_packet() -> bytes:
    size = HEADERS + SLICES * SEGMENT
    tcp = bytes(12) + b"\x50\x10" + bytes(6)  # five words long, ACK
    return _ipv4(size, TCP) + tcp + bytes(SLICES * SEGMENT)


def _copy_of(bare: bytes) -> Packet:
    """The super-packet in a buffer of its own, which sealing writes over."""
    buffer, end = _BUFFER, HEADROOM + len(bare)
    buffer[HEADROOM:end] = bare
    pack_vnet_into(buffer, HEADROOM - VNET_SIZE, NEEDS_CSUM, GSO_TCP4, HEADERS, SEGMENT, 20, TCP_CHECKSUM)
    return Packet(buffer, HEADROOM, end)


_BUFFER = memoryview(bytearray(HEADROOM + 65536 + TAILROOM))
