"""What a limited, reordering and duplicating wire does to packets, whatever the traffic and the seed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.lab.wire import (
    FULL_FRAME,
    QUEUE_FRAMES,
    QUEUE_TIME,
    VIRTIO_HEADER,
    Direction,
    InFlight,
    takes_bursts,
)
from ltk.reconcile.resources import Conditions

PERCENT = 10_000  # of a million
MBIT = 1_000_000  # bits per second


def frame(number: int, size: int = 1000) -> bytes:
    """A frame of `size` bytes on the line."""
    ethernet = bytes(12) + b"\x08\x00" + number.to_bytes(4, "big")
    return bytes(VIRTIO_HEADER) + ethernet + bytes(size - len(ethernet))


def number_of(given: bytes) -> int:
    return int.from_bytes(given[VIRTIO_HEADER + 14 : VIRTIO_HEADER + 18], "big")


def passage(conditions: Conditions, gaps: list[float], size: int = 1000) -> tuple[Direction, list[int]]:
    """The direction, and the numbers of the frames in the order of their arrival.

    Frame number n enters `gaps[n]` seconds after the one before it.
    """
    flight, direction, now = InFlight(), Direction(conditions, ""), 0.0
    arrived = []
    for number, gap in enumerate(gaps):
        now += gap
        arrived += [number_of(each) for _, each in flight.arrived(now)]
        flight.add(direction, frame(number, size), now)
    arrived += [number_of(each) for _, each in flight.arrived(now + 1e6)]
    return direction, arrived


CONDITIONS = st.builds(
    Conditions,
    delay=st.sampled_from([0, 1_000, 50_000]),
    jitter=st.just(0),
    loss=st.sampled_from([0, 10 * PERCENT]),
    seed=st.integers(0, 1000),
    rate=st.sampled_from([0, 64_000, MBIT, 100 * MBIT]),
    reorder=st.sampled_from([0, 20 * PERCENT]),
    duplicate=st.sampled_from([0, 20 * PERCENT]),
)
GAPS = st.lists(st.sampled_from([0.0, 0.0001, 0.01, 0.5]), max_size=200)


@given(CONDITIONS, GAPS)
def test_every_frame_arrives_once_or_twice_or_is_counted_as_what_became_of_it(
    conditions: Conditions, gaps: list[float]
) -> None:
    direction, arrived = passage(conditions, gaps)
    assert len(arrived) == direction.carried
    assert all(arrived.count(number) <= 2 for number in set(arrived))
    missing = len(gaps) - len(set(arrived))
    assert direction.lost <= missing <= direction.lost + direction.overflowed
    assert len(arrived) - len(set(arrived)) == direction.doubled
    assert direction.queued == 0


@given(CONDITIONS, GAPS)
def test_a_run_can_be_repeated(conditions: Conditions, gaps: list[float]) -> None:
    assert passage(conditions, gaps)[1] == passage(conditions, gaps)[1]


@given(CONDITIONS, GAPS)
def test_only_what_is_reordered_on_purpose_overtakes(conditions: Conditions, gaps: list[float]) -> None:
    direction, arrived = passage(conditions, gaps)
    latest = -1
    early = 0
    for index, number in enumerate(arrived):
        early += any(later < number for later in arrived[index + 1 :]) and number > latest
        latest = max(latest, number)
    assert early <= direction.reordered
    if not conditions.reorder:
        assert arrived == sorted(arrived)


@given(st.sampled_from([64_000, MBIT, 50 * MBIT]), GAPS, st.integers(60, FULL_FRAME))
def test_a_line_never_carries_more_than_its_rate(rate: int, gaps: list[float], size: int) -> None:
    direction, now = Direction(Conditions(rate=rate), ""), 0.0
    arrivals = []
    for number, gap in enumerate(gaps):
        now += gap
        if (arrival := direction.enter(frame(number, size), now)) is not None:
            assert (
                arrival - now
                <= max(QUEUE_TIME, QUEUE_FRAMES * FULL_FRAME * 8 / rate) + size * 8 / rate + 1e-9
            )
            arrivals.append(arrival)
    apart = size * 8 / rate
    assert all(later - earlier >= apart * (1 - 1e-6) for earlier, later in pairwise(arrivals))


def test_a_line_that_is_offered_twice_its_rate_carries_its_rate_and_refuses_the_rest() -> None:
    direction, arrived = passage(Conditions(rate=8 * MBIT), [0.0005] * 10_000)  # 1000 bytes: 1 ms each
    assert len(arrived) == pytest.approx(5000, abs=110), "5 s of the line, and a queue of 100 ms"
    assert direction.overflowed == 10_000 - len(arrived)
    assert direction.lost == 0


def test_a_fifth_overtakes_where_a_fifth_is_to_be_reordered() -> None:
    conditions = Conditions(delay=20_000, reorder=20 * PERCENT, seed=3)
    direction, arrived = passage(conditions, [0.001] * 5000)
    overtaking = sum(1 for earlier, later in pairwise(arrived) if later < earlier)
    assert direction.reordered == pytest.approx(1000, abs=100)
    assert overtaking > 500, "those that arrive right after one another are one overtaking"
    assert sorted(arrived) == list(range(5000))


def test_a_tenth_arrives_twice_right_behind_itself() -> None:
    direction, arrived = passage(Conditions(delay=5_000, duplicate=10 * PERCENT, seed=3), [0.001] * 5000)
    twice = [number for number, following in pairwise(arrived) if number == following]
    assert len(twice) == direction.doubled == pytest.approx(500, abs=70)


def test_reordering_and_doubling_do_not_change_which_packets_are_lost() -> None:
    def lost(conditions: Conditions) -> set[int]:
        return set(range(2000)) - set(passage(conditions, [0.001] * 2000)[1])

    plain = Conditions(delay=1_000, loss=10 * PERCENT, seed=9)
    more = Conditions(delay=1_000, loss=10 * PERCENT, seed=9, reorder=30 * PERCENT, duplicate=30 * PERCENT)
    assert lost(plain) == lost(more) != set()


def test_a_change_of_the_rate_counts_for_the_next_packet() -> None:
    direction = Direction(Conditions(rate=64_000), "")
    assert direction.enter(frame(0), 0.0) == pytest.approx(0.125)
    direction.change(Conditions(rate=8 * MBIT))
    assert direction.enter(frame(1), 0.001) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("conditions", "whole"),
    [
        (Conditions(delay=20_000, jitter=1_000), True),
        (Conditions(rate=1000 * MBIT), True),
        (Conditions(rate=50 * MBIT), False),
        (Conditions(loss=1), False),
        (Conditions(delay=1, reorder=1), False),
        (Conditions(duplicate=1), False),
    ],
    ids=str,
)
def test_bursts_pass_whole_where_no_packet_meets_a_fate_of_its_own(
    conditions: Conditions, whole: bool
) -> None:
    assert takes_bursts(conditions) is whole
