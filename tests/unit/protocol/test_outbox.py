"""One buffer for all that is queued, used again when it was fetched and not before."""

from __future__ import annotations

from rig import B

from ltk.protocol.drops import Drop
from ltk.protocol.outbox import Outbox


def test_what_was_not_fetched_is_not_written_over():
    outbox = Outbox()
    first = outbox.room(8)
    first[:] = b"datagram"
    outbox.transmit.append((first, B))
    outbox.begin()
    outbox.room(8)[:] = b"overflow"
    assert bytes(outbox.transmit[0][0]) == b"datagram"


def test_a_drained_outbox_uses_its_buffer_again():
    outbox = Outbox()
    for _ in range(1000):
        outbox.begin()
        room = outbox.room(65536)
        outbox.deliver.append(room)
        assert room.obj is outbox._buffer.obj
        outbox.deliver.clear()


def test_more_than_the_buffer_holds_gets_memory_of_its_own():
    outbox = Outbox()
    rooms = [outbox.room(65536) for _ in range(6)]
    for number, room in enumerate(rooms):
        room[:] = bytes([number]) * 65536
    assert [room[0] for room in rooms] == list(range(6))


def test_refusals_are_counted_by_their_reason():
    outbox = Outbox()
    assert outbox.drop(Drop.NO_ROUTE) is Drop.NO_ROUTE
    outbox.drop(Drop.GAVE_UP, 3)
    assert (outbox.drops[Drop.NO_ROUTE], outbox.drops[Drop.GAVE_UP], outbox.drops[Drop.REPLAYED]) == (1, 3, 0)
