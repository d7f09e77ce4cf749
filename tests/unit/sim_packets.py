"""The packets of the simulated world: real IPv4, numbered, and accounted for one by one."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ltk.protocol.engine import Drop

if TYPE_CHECKING:
    from sim import Node, Simulation

PACKET_SIZE = 400  # bytes; every control message is smaller
BULKY = 360  # bytes: a datagram of this size carries a packet
_AFTERWARDS = 2.0  # seconds in which what is under way arrives
_SERIAL = struct.Struct("!Q")
_HEADER_SIZE = 20


def ipv4(source: IPv4Address, destination: IPv4Address, payload: bytes) -> bytes:
    """An IPv4 packet of the protocol for experiments (RFC 3692), with its header's checksum."""
    header = struct.pack("!BBHIBBH", 0x45, 0, _HEADER_SIZE + len(payload), 0, 64, 253, 0)
    header += source.packed + destination.packed
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header[:10] + checksum.to_bytes(2, "big") + header[12:] + payload


@dataclass(slots=True)
class Packet:
    """One packet that was given to an engine, and what became of it."""

    serial: int
    data: bytes
    source: Node
    destination: Node
    sent_at: float
    is_ping: bool = False
    request: Packet | None = None  # that this one answers
    drop: Drop | None = None
    delivered_at: float | None = None
    answered_at: float | None = None


class Ledger:
    """Every packet of a world. It fails where one is delivered twice, elsewhere or altered."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._packets: list[Packet] = []

    def new(self, source: Node, destination: Node, size: int) -> Packet:
        """Make a packet of `size` bytes with a serial number of its own."""
        serial = len(self._packets)
        payload = _SERIAL.pack(serial).ljust(size - _HEADER_SIZE, b"x")
        data = ipv4(source.tunnel_address, destination.tunnel_address, payload)
        packet = Packet(serial, data, source, destination, self._world.now)
        self._packets.append(packet)
        return packet

    def delivered(self, node: Node, data: bytes) -> Packet:
        """Note that a node's engine yielded a packet for its TUN, and check that it may have."""
        check = self._world.check
        serial = _SERIAL.unpack_from(data, _HEADER_SIZE)[0] if len(data) >= _HEADER_SIZE + 8 else -1
        check(0 <= serial < len(self._packets), f"{node.name} was delivered a packet that nobody sent")
        packet = self._packets[serial]
        check(packet.data == data, f"packet {serial} reached {node.name} altered")
        check(
            packet.destination is node,
            f"packet {serial} for {packet.destination.name} was delivered to {node.name}",
        )
        check(packet.delivered_at is None, f"packet {serial} was delivered to {node.name} twice")
        packet.delivered_at = self._world.now
        if packet.request is not None:
            packet.request.answered_at = self._world.now
        return packet


@dataclass
class Flow:
    """A ping from one node to another every `every` seconds, as long as both are up."""

    world: Simulation
    source: Node
    destination: Node
    every: float
    packets: list[Packet] = field(default_factory=list)
    running: bool = True

    def __post_init__(self) -> None:
        self._tick()

    def _tick(self) -> None:
        if not self.running:
            return
        self.world.after(self.every, self._tick)
        if self.source.engine is not None:
            self.packets.append(self.source.send(self.destination, is_ping=True))

    def stop(self) -> Flow:
        """Send no more, and let what is under way arrive."""
        self.running = False
        self.world.run(_AFTERWARDS)
        return self

    @property
    def lost(self) -> list[Packet]:
        """The pings that have no answer."""
        return [packet for packet in self.packets if packet.answered_at is None]

    def lost_since(self, moment: float) -> list[Packet]:
        """The pings sent from `moment` on that have no answer."""
        return [packet for packet in self.lost if packet.sent_at >= moment]

    @property
    def outage(self) -> float:
        """The longest time in which no ping was answered, from the first of them to the next that was."""
        longest, since = 0.0, None
        for packet in self.packets:
            if packet.answered_at is None:
                since = packet.sent_at if since is None else since
                longest = max(longest, packet.sent_at + self.every - since)
            else:
                since = None
        return longest
