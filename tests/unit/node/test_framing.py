"""Datagrams on a stream: whole ones come out, in whatever pieces they arrive, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.node.framing import LENGTH, MAX_DATAGRAM, BadFrameError, Reader, Writer

DATAGRAMS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20)


def framed(*datagrams: bytes) -> bytes:
    return b"".join(LENGTH.pack(len(each)) + each for each in datagrams)


def read(reader: Reader, data: bytes) -> list[bytes]:
    return [
        bytes(joined[at : at + size])
        for joined, size in reader.feed(data)
        for at in range(0, len(joined), size)
    ]


@given(DATAGRAMS, st.lists(st.integers(1, 400), max_size=60))
def test_datagrams_come_out_whole_and_in_order_wherever_the_stream_is_cut(
    datagrams: list[bytes], cuts: list[int]
) -> None:
    reader, stream, found = Reader(), framed(*datagrams), []
    for size in cuts:
        found += read(reader, stream[:size])
        stream = stream[size:]
    assert found + read(reader, stream) == datagrams


def test_those_of_one_size_come_together_and_a_shorter_one_ends_them() -> None:
    given_ = [b"a" * 100, b"b" * 100, b"c" * 40, b"d" * 100, b"e" * 120]
    runs = [(bytes(joined), size) for joined, size in Reader().feed(framed(*given_))]
    assert runs == [(b"a" * 100 + b"b" * 100 + b"c" * 40, 100), (b"d" * 100, 100), (b"e" * 120, 120)]


@pytest.mark.parametrize("length", [0, MAX_DATAGRAM + 1, 65535])
def test_a_length_that_no_datagram_has_ends_the_stream_after_what_came_before(length: int) -> None:
    arrived = Reader().feed(framed(b"good") + LENGTH.pack(length) + b"x" * 10)
    assert bytes(next(arrived)[0]) == b"good"
    with pytest.raises(BadFrameError):
        next(arrived)


@given(DATAGRAMS, st.lists(st.integers(1, 200), min_size=200, max_size=200))
def test_what_leaves_is_never_torn_however_little_is_taken_at_a_time(
    datagrams: list[bytes], taken: list[int]
) -> None:
    writer, reader, found, refused = Writer(512), Reader(), [], 0
    for datagram, count in zip(datagrams, taken, strict=False):
        refused += writer.put(datagram, len(datagram))
        count = min(count, len(writer.waiting))
        found += read(reader, bytes(writer.waiting[:count]))
        writer.sent(count)
        assert len(writer.waiting) <= 512
    found += read(reader, bytes(writer.waiting))
    assert len(found) + refused == len(datagrams)
    assert [each for each in datagrams if each in found] == [each for each in found if each in datagrams]


def test_a_datagram_that_has_left_in_part_is_finished_before_the_next() -> None:
    writer, reader = Writer(1000), Reader()
    writer.put(b"a datagram", 10)
    sent = bytes(writer.waiting[:4])
    writer.sent(4)
    writer.put(b"another", 7)
    found = read(reader, sent + bytes(writer.waiting))
    assert found == [b"a datagram", b"another"], "the rest of the first one is missing"


def test_what_finds_no_room_is_refused_whole_and_later_ones_find_some_again() -> None:
    writer = Writer(1000)
    assert writer.put(b"x" * 400 * 4, 400) == 2, "two of four have room"
    assert len(writer.waiting) == 2 * 402
    writer.sent(804)
    assert writer.put(b"y" * 400, 400) == 0
    assert writer.put(bytes(MAX_DATAGRAM + 1), MAX_DATAGRAM + 1) == 1, "no datagram is as large as that"


def test_one_datagram_finds_room_where_nothing_waits() -> None:
    writer = Writer(100)
    assert writer.put(b"x" * 400, 400) == 0
    assert writer.put(b"x", 1) == 1
