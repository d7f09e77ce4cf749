"""What goes to one peer: sealed, and put on each of its ways."""

from __future__ import annotations

from collections.abc import Sequence

from ltk.protocol.drops import Drop
from ltk.protocol.events import Traffic
from ltk.protocol.local import PADDING, Local
from ltk.protocol.messages import (
    DATA_OVERHEAD,
    RELAY_HEADER_SIZE,
    Buffer,
    Endpoint,
    Kind,
    Place,
    Relay,
    pack_relay_header_into,
)
from ltk.protocol.segments import MAX_BYTES, MAX_DATAGRAMS, SEGMENT_SIZE, WHOLE, pack_segment_into
from ltk.protocol.session import Session
from ltk.protocol.vnet import GSO_NONE, NEEDS_CSUM, VNET_SIZE, Packet, complete, geometry_of, unpack_vnet


class Sender:
    """Seals and sends, and counts by way."""

    __slots__ = ("_local", "_outbox", "direct", "relayed")

    def __init__(self, local: Local) -> None:
        self._local = local
        self._outbox = local.outbox
        self.direct = Traffic()
        self.relayed = Traffic()

    def send_handshake(self, message: bytes, places: Sequence[Place]) -> None:
        """Send a handshake message."""
        for place in places:
            if self._local.send(message, place):
                self._count(place, 1, len(message))

    def send_frame(self, session: Session, frame: bytes, places: Sequence[Place], hops: int = 0) -> None:
        """Send a control frame, or none for a keepalive; with `hops`, directly and no further than that."""
        payload = self._local.padded(frame)
        if not hops:
            self._seal(session, payload, places)
            return
        room = self._outbox.room(len(payload) + DATA_OVERHEAD)
        if session.seal(payload, room):
            for place in places:
                if isinstance(place, Endpoint):
                    self._outbox.send(room, place, hops=hops)
                    self._count(place, 1, len(room))

    def send_packet(
        self, session: Session, packet: Packet, places: Sequence[Place], *, takes_segments: bool
    ) -> Drop | None:
        """Send a packet, which is written over; return why not, if so.

        For a peer that `takes_segments`, a super-packet is cut and nothing more; for others, whatever the
        packet owes is paid first.
        """
        buffer, begin, end = packet
        flags, gso, _, _, start, offset = unpack_vnet(buffer, begin - VNET_SIZE)
        if not gso and not flags & NEEDS_CSUM:
            self._seal(session, self._padded(packet), places)
        elif not takes_segments:
            count = 0
            for whole in complete(packet):
                self._seal(session, self._padded(whole), places)
                count += 1
            return None if count else Drop.MALFORMED_PACKET
        elif gso == GSO_NONE:
            pack_segment_into(buffer, begin - SEGMENT_SIZE, WHOLE, 0, 0, 0, 0, start, offset)
            self._seal(session, buffer[begin - SEGMENT_SIZE : end], places)
        else:
            return self._cut(session, packet, places)
        return None

    def _padded(self, packet: Packet) -> memoryview:
        """Return a packet padded as `Local.padded` does, in its place."""
        buffer, begin, end = packet
        size = end - begin
        more = -size % PADDING
        if more:
            more = max(0, min(more, self._local.mtu - size))
            buffer[end : end + more] = bytes(more)
            end += more
        return buffer[begin:end]

    def _seal(self, session: Session, payload: Buffer, places: Sequence[Place]) -> None:
        size = len(payload) + DATA_OVERHEAD
        if len(places) == 1 and isinstance(places[0], Endpoint):  # nearly always, and so by the shortest way
            outbox, direct = self._outbox, self.direct
            room = outbox.room(size)
            if session.seal(payload, room):
                outbox.send_room(room, places[0])
                direct.tx_packets += 1
                direct.tx_bytes += size
            return
        front = RELAY_HEADER_SIZE if any(isinstance(place, Relay) for place in places) else 0
        room = self._outbox.room(front + size)
        datagram = room[front:] if front else room
        if not session.seal(payload, datagram):
            return
        for place in places:
            if isinstance(place, Relay):
                server = self._local.relay_endpoint
                if server is None:
                    continue
                pack_relay_header_into(room, 0, Kind.RELAYED, place.channel)
                self._outbox.send_room(room, server)
            else:
                self._outbox.send_room(datagram, place)
            self._count(place, 1, size)

    def _cut(self, session: Session, packet: Packet, places: Sequence[Place]) -> Drop | None:
        local = self._local
        made = geometry_of(packet)
        if made is None:
            return Drop.MALFORMED_PACKET
        channel = next((place.channel for place in places if isinstance(place, Relay)), None)
        front = 0 if channel is None else RELAY_HEADER_SIZE
        out = local.outbox.burst_room(local.cutter.size_for(packet, made, front))
        burst = local.cutter.seal(session, packet, made, channel, out)
        if burst is None:
            return None
        datagrams, size, count = burst
        for place in places:
            if isinstance(place, Relay):
                if local.relay_endpoint is None:
                    continue
                self._send_burst(datagrams, size, local.relay_endpoint)
            elif not front:
                self._send_burst(datagrams, size, place)
            else:
                for begin in range(0, len(datagrams), size):
                    local.outbox.send(datagrams[begin + front : begin + size], place)
            self._count(place, count, len(datagrams) - count * front)
        return None

    def _send_burst(self, datagrams: memoryview, size: int, to: Endpoint) -> None:
        at_once = min(MAX_DATAGRAMS, MAX_BYTES // size) * size
        for begin in range(0, len(datagrams), at_once):
            part = datagrams[begin : begin + at_once]
            self._outbox.send(part, to, size if len(part) > size else 0)

    def _count(self, place: Place, packets: int, size: int) -> None:
        traffic = self.relayed if isinstance(place, Relay) else self.direct
        traffic.tx_packets += packets
        traffic.tx_bytes += size
