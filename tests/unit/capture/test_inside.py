"""Data messages that are opened with their session's keys, and those that are not."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from made import echo, relayed, tcp, udp

from ltk.capture.dissect import dissect
from ltk.capture.inside import Inside, look_inside
from ltk.capture.keys import FOREIGN_FOR, Ask, NodeKeys, Ring
from ltk.errors import LtkError
from ltk.protocol.burst import Cutter
from ltk.protocol.frames import Probe, pack_frame
from ltk.protocol.messages import DATA_OVERHEAD
from ltk.protocol.noise import TransportKeys
from ltk.protocol.session import Session, SessionKeys
from ltk.protocol.vnet import NEEDS_CSUM, complete, geometry_of, packet_of

FROM_ALICE, FROM_BOB = b"a" * 32, b"b" * 32
PROBE = Probe(b"12345678")


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Daemon:
    """Tells the keys of its sessions, as often as it is asked."""

    def __init__(self, *sessions: Session) -> None:
        self.sessions = list(sessions)
        self.asked = 0
        self.is_there = True

    def ask(self) -> Sequence[SessionKeys]:
        self.asked += 1
        if not self.is_there:
            raise LtkError("asking alice", "no process listens there")
        return [each.disclose("bob") for each in self.sessions]


def session(index: int = 11, receiver: int = 22, *, is_alice: bool = True) -> Session:
    send, receive = (FROM_ALICE, FROM_BOB) if is_alice else (FROM_BOB, FROM_ALICE)
    return Session(index, receiver, TransportKeys(send, receive), initiator=is_alice, created=0.0)


def seal(session: Session, payload: bytes) -> bytes:
    out = memoryview(bytearray(len(payload) + DATA_OVERHEAD))
    assert session.seal(payload, out)
    return bytes(out)


def ring(*asks: Ask) -> Ring:
    keys = [NodeKeys(f"node{number}", ask) for number, ask in enumerate(asks)]
    for each in keys:
        each.fetch()
    return Ring(keys)


def inside(payload: bytes, ring: Ring, segment: int = 0) -> list[Inside]:
    return list(look_inside(dissect(udp(payload), ethernet=False), segment, ring))


@pytest.mark.parametrize("is_alice", [True, False])
@pytest.mark.parametrize("channel", [None, 7])
def test_either_side_has_the_key_of_both_directions(is_alice: bool, channel: int | None) -> None:
    keys = ring(Daemon(session(*((11, 22) if is_alice else (22, 11)), is_alice=is_alice)).ask)
    for sender in (session(), session(22, 11, is_alice=False)):
        message = seal(sender, echo() + bytes(8))
        (found,) = inside(message if channel is None else relayed(channel, message), keys)
        assert found.packet == echo(), "the packet without its padding"


def test_what_is_no_packet_is_named_and_a_keepalive_is_nothing() -> None:
    keys, alice = ring(Daemon(session()).ask), session()
    (found,) = inside(seal(alice, pack_frame(PROBE).ljust(16, b"\0")), keys)
    assert (found.packet, found.frame) == (None, "frame PROBE")
    assert inside(seal(alice, b""), keys) == []
    for payload in (b"\x2f" + bytes(15), b"\x45" + bytes(31), b"\x11" + bytes(40), bytes(16)):
        (found,) = inside(seal(alice, payload), keys)
        assert found.packet is None
        assert found.frame


@pytest.mark.parametrize("channel", [None, 7])
def test_each_segment_of_a_burst_is_the_packet_that_it_stands_for(channel: int | None) -> None:
    size, payload = 100, bytes(range(250))
    framed = struct.pack("<BBHHHH", NEEDS_CSUM, 1, 40, size, 20, 16) + tcp(payload, flags=0x19)
    packet = packet_of(framed)
    made = geometry_of(packet)
    assert made is not None
    out = memoryview(bytearray(4096))
    sealed = Cutter().seal(session(), packet, made, channel, out)
    assert sealed is not None
    found = inside(bytes(sealed.datagrams), ring(Daemon(session()).ask), sealed.size)
    assert [each.packet for each in found] == [bytes(each.bare) for each in complete(packet_of(framed))]
    seen = [dissect(each.packet or b"", ethernet=False) for each in found]
    assert b"".join(bytes(each.body[20:]) for each in seen) == payload
    assert [each.counter for each in found] == [0, 1, 2]


def test_who_is_no_end_of_the_session_opens_nothing() -> None:
    hub = Daemon(session(33, 44))
    keys = ring(hub.ask)
    (found,) = inside(relayed(7, seal(session(), echo())), keys)
    assert found.is_sealed
    altered = bytearray(seal(session(33, 44), echo()))
    altered[20] ^= 1
    (found,) = inside(bytes(altered), keys)
    assert found.is_sealed, "what was altered is not authentic"


def test_a_new_session_is_asked_for_once_and_one_of_others_not_again_and_again() -> None:
    clock, daemon = Clock(), Daemon(session())
    node = NodeKeys("alice", daemon.ask, clock)
    node.fetch()
    keys = Ring([node])
    clock.now += 1.0
    daemon.sessions.append(session(13, 24))
    rekeyed = session(13, 24)
    for _ in range(3):
        (found,) = inside(seal(rekeyed, echo()), keys)
        assert found.packet == echo()
    assert daemon.asked == 2
    clock.now += 1.0
    for _ in range(100):
        assert all(each.is_sealed for each in inside(seal(session(5, 6), echo()), keys))
        clock.now += FOREIGN_FOR / 101
    assert daemon.asked == 3
    clock.now += 1.0
    daemon.is_there = False
    inside(seal(session(7, 8), echo()), keys)
    assert node.problem is not None
    assert "no process listens" in node.problem
    assert [each.packet for each in inside(seal(rekeyed, echo()), keys)] == [echo()], "what is known stays"


@pytest.mark.parametrize("keys", [session().disclose("bob"), [session().disclose("bob")]])
def test_disclosed_keys_do_not_show_themselves(keys: object) -> None:
    for secret in (FROM_ALICE, FROM_BOB):
        assert secret.decode() not in repr(keys)
        assert secret.hex() not in str(keys)
