"""Which ports a NAT chooses, and where to expect the next: the arithmetic behind port prediction."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol.messages import Endpoint
from ltk.protocol.ports import step_of
from ltk.protocol.search import (
    FIRST_PORT,
    HALF,
    LINE,
    PORTS,
    WINDOW,
    ascending,
    descending,
    random_ports,
    window,
)

HERE, THERE = Endpoint("198.51.100.1", 40_000), Endpoint("198.51.100.2", 50_000)


@pytest.mark.parametrize(
    ("ports", "step"),
    [
        ((40_000, 40_001, 40_002, 40_003), 1),
        ((40_000, 40_002, 40_004, 40_006), 2),
        ((40_000, 40_001, 40_005, 40_006), 1),  # another host took three in between
        ((40_000, 40_003, 40_004, 40_009), 0),  # no two steps are the same
        ((40_003, 40_002, 40_001, 40_000), 0),
        ((51_123, 20_017, 33_333, 42_001), 0),
        ((40_000, 40_000, 40_000, 40_000), 0),
        ((40_000, 40_040, 40_080, 40_120), 0),  # larger than any that is known
        ((40_000, 40_001), 0),  # seen once
        ((), 0),
    ],
)
def test_ports_are_in_sequence_where_the_smallest_step_was_seen_twice(
    ports: Sequence[int], step: int
) -> None:
    assert step_of(ports) == step


@pytest.mark.parametrize("step", [1, 2, 15])
def test_the_window_begins_with_the_next_port_and_ends_within_the_range(step: int) -> None:
    ports = [each.port for each in window(HERE, step)]
    assert ports == [HERE.port + step * count for count in range(1, WINDOW + 1)]
    assert all(each.address == HERE.address for each in window(HERE, step))
    assert [each.port for each in window(HERE._replace(port=0xFFFF - step), step)] == [0xFFFF]


@given(
    st.integers(0, HALF - 1), st.integers(0, HALF - 1), st.sampled_from([1, 2, 5]), st.sampled_from([1, 3])
)
def test_the_two_lines_cross_whatever_few_ports_others_take_first(
    here_taken: int, there_taken: int, here_step: int, there_step: int
) -> None:
    """Each probe of a line leaves by the next port of its side; some pair of ports must be in both lines."""
    if here_taken + there_taken >= HALF:
        return
    rising = {
        (HERE.port + here_step * (here_taken + number), target.port)
        for number, target in enumerate(ascending(THERE, there_step), start=1)
    }
    falling = {
        (target.port, THERE.port + there_step * (there_taken + number))
        for number, target in enumerate(descending(HERE, here_step), start=1)
    }
    assert len(rising) == LINE
    assert len(falling) == 2 * HALF
    assert rising & falling


@given(st.randoms(use_true_random=False), st.integers(1, 2000))
def test_random_ports_are_as_many_as_asked_for_all_different_and_such_as_nats_choose(random, count) -> None:
    ports = random_ports(random.randbytes, count)
    assert len(set(ports)) == len(ports) == count
    assert all(FIRST_PORT <= port < FIRST_PORT + PORTS for port in ports)
