"""One buffer for all that is queued, used again when it was fetched and not before."""

from __future__ import annotations

from rig import A, B

from ltk.protocol.drops import Drop
from ltk.protocol.outbox import MAX_BYTES, Outbox, datagrams


def test_what_was_not_fetched_is_not_written_over():
    outbox = Outbox()
    first = outbox.room(8)
    first[:] = b"datagram"
    outbox.send_room(first, B)
    outbox.begin()
    outbox.room(8)[:] = b"overflow"
    assert bytes(outbox.poll_transmit().data) == b"datagram"


def test_datagrams_of_one_size_to_one_endpoint_leave_together_and_a_shorter_one_is_their_last():
    outbox = Outbox()
    for size, to in ((8, B), (8, B), (5, B), (8, B), (8, A), (9, A)):
        outbox.send_room(outbox.room(size), to)
    outbox.send(b"handshake", A)
    sent = list(iter(outbox.poll_transmit, None))
    assert [(len(each.data), each.to, each.size) for each in sent] == [
        (21, B, 8),
        (8, B, 0),
        (8, A, 0),
        (9, A, 0),
        (9, A, 0),
    ]
    assert [len(each) for each in datagrams(sent[0])] == [8, 8, 5]


def test_not_more_leave_together_than_the_kernel_takes():
    outbox = Outbox()
    for size, count in ((1400, 100), (8, 100)):
        for _ in range(count):
            outbox.send_room(outbox.room(size), B)
    sent = list(iter(outbox.poll_transmit, None))
    assert max(len(each.data) for each in sent) <= MAX_BYTES
    assert [len(list(datagrams(each))) for each in sent] == [46, 46, 9, 64, 35]


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
