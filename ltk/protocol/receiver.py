"""What comes in on sessions: opened, checked, and delivered or passed on."""

from __future__ import annotations

from ltk.protocol.burst import unwrap
from ltk.protocol.config import EngineConfig
from ltk.protocol.control import Control
from ltk.protocol.drops import Drop
from ltk.protocol.local import Local
from ltk.protocol.messages import (
    DATA_OVERHEAD,
    Endpoint,
    Place,
    Relay,
    ip_destination,
    ip_packet_length,
    ip_source,
    read_burst,
    unpack_data_header,
)
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import NotAuthenticError
from ltk.protocol.session import Session
from ltk.protocol.vnet import VNET_SIZE, Packet

_IP = (4, 6)  # versions, as the first four bits of a packet have them
_OWES_NOTHING = bytes(VNET_SIZE)


class Receiver:
    """Takes the data messages of all peers."""

    __slots__ = ("_addresses", "_control", "_forwards", "_isolates", "_local", "_outbox")

    def __init__(self, local: Local, control: Control) -> None:
        self._local = local
        self._outbox = local.outbox
        self._control = control
        self._addresses: frozenset[bytes] = frozenset()
        self._forwards = self._isolates = False

    def configure(self, config: EngineConfig) -> None:
        """Know whose packets are this node's own, and what becomes of the others."""
        self._addresses = frozenset(address.packed for address in config.addresses)
        self._forwards = config.forward
        self._isolates = config.isolation

    def handle_data(self, data: memoryview, source: Place, now: float) -> Drop | None:
        """Take one data message; return why it was refused, if so."""
        size = len(data)
        if size < DATA_OVERHEAD:
            return Drop.WRONG_LENGTH
        entry = self._local.sessions.get(unpack_data_header(data)[1])
        if entry is None:
            return Drop.UNKNOWN_RECEIVER
        peer, session = entry
        if not session.may_receive(now):
            return Drop.SESSION_EXPIRED
        room = self._outbox.packet_room(size - DATA_OVERHEAD)
        buffer, begin, end = room
        opened = session.open(data, buffer[begin:end])
        if not isinstance(opened, int):
            return opened
        peer.heard_from(source, size, now)
        if not session.heard:
            peer.confirmed(session, now)
        if opened and buffer[begin] >> 4 in _IP:  # nearly always, and so by the shortest way
            buffer[begin - VNET_SIZE : begin] = _OWES_NOTHING
            peer.heard_payload(is_packet=True, now=now)
            return self._route_in(peer, room, now)
        payload = unwrap(room, takes_segments=self._local.offloads)
        return self._handle_payload(peer, session, payload, source, now)

    def _handle_payload(
        self, peer: Peer, session: Session, payload: Packet, source: Place, now: float
    ) -> Drop | None:
        bare = payload.bare
        match bare[0] >> 4 if bare else 0:
            case 4 | 6:
                peer.heard_payload(is_packet=True, now=now)
                return self._route_in(peer, payload, now)
            case 2:
                return self._control.handle_frame(peer, session, bare, source, now)
            case 0 if not bare:
                peer.heard_payload(is_packet=False, now=now)
                return None
            case _:
                return Drop.UNKNOWN_FRAME

    def _route_in(self, peer: Peer, payload: Packet, now: float) -> Drop | None:
        """Deliver an IP packet from `peer` to the TUN, or to the peer that it is for."""
        buffer, begin, end = payload
        bare = buffer[begin:end]
        length = ip_packet_length(bare)
        if length is None:
            return Drop.MALFORMED_PACKET
        if self._local.routes.lookup(ip_source(bare)) is not peer:
            return Drop.SOURCE_NOT_ALLOWED
        packet = Packet(buffer, begin, begin + length)
        if self._forwards and (destination := ip_destination(bare)) not in self._addresses:
            target = self._local.routes.lookup(destination)
            if target is peer:
                return Drop.HAIRPIN
            if isinstance(target, Peer):  # a server's are all there
                return Drop.ISOLATED if self._isolates else target.send_packet(packet, now)
        self._outbox.deliver.append(packet)
        return None

    def handle_burst(self, data: memoryview, size: int, source: Endpoint, now: float) -> bool:
        """Take datagrams that arrived back to back, each of `size` bytes, but the last may be shorter.

        Return False, with nothing done, where they are not all of one session or channel, or not all well:
        each is then to be taken by itself.
        """
        heads = read_burst(data, size)
        if heads is None:
            return False
        if heads.is_relayed and self._forwards:
            return self._control.relay.forward_burst(data, size, heads.channels[0], source)
        if heads.receiver is None or (heads.is_relayed and not self._local.is_server_at(source)):
            return False
        entry = self._local.sessions.get(heads.receiver)
        if entry is None or not entry[1].may_receive(now) or self._outbox.holds_joined:
            return False
        peer, session = entry
        try:
            opened = self._local.joiner.open(session, data, size, heads.front, heads.counters)
        except NotAuthenticError:
            return False
        if opened is None or not session.accept_burst(heads.counters):
            return False
        self._outbox.holds_joined = True
        count = len(heads.counters)
        place = Relay(heads.channels[0]) if heads.is_relayed else source
        peer.heard_from(place, len(data) - count * heads.front, now, count=count)
        if not session.heard:
            peer.confirmed(session, now)
        for payload in opened:
            drop = self._handle_payload(peer, session, payload, place, now)
            if drop is not None:
                self._outbox.drop(drop)
        return True
