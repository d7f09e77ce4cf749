"""The figures of reliability, each measured in twenty runs, as programs and the internet see them.

How pairs of homes are measured is told in `homes`, how servers that restart, in `restarts`. All figures are
printed at the end of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import homes
import pytest
import restarts
from figures import Figure, Judge
from harness import Lab

PAIRS = 20
SERVERS, KILLS = 5, 4
RUNS = SERVERS * KILLS


@contextmanager
def labs(folder: Path, yamls: Sequence[str]) -> Iterator[list[Lab]]:
    """These topologies, up while the body goes on; the logs are told where it fails."""
    made = [Lab(yaml, folder / f"lab{number}.yaml") for number, yaml in enumerate(yamls)]
    try:
        with ThreadPoolExecutor(2) as executor:
            list(executor.map(Lab.apply, made))
        yield made
    except AssertionError:
        print(*(lab.logs() for lab in made))
        raise
    finally:
        for lab in made:
            lab.destroy()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> homes.Runs:
    """What twenty pairs have shown."""
    wanted = [homes.Pair(number) for number in range(1, PAIRS + 1)]
    with labs(tmp_path_factory.mktemp("homes"), [homes.topology(wanted)]) as (lab,):
        return homes.measure(lab, wanted)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> restarts.Restarts:
    """What the clients of servers that were killed twenty times have noticed."""
    yamls = [restarts.topology(number) for number in range(1, SERVERS + 1)]
    with labs(tmp_path_factory.mktemp("restarts"), yamls) as made:
        return restarts.measure(made, KILLS)


def test_the_first_echo_after_a_cold_start_takes_two_round_trips_and_little_more(
    pairs: homes.Runs, held: Judge
) -> None:
    """With the server there are two round trips: a handshake and the echo.

    Another client is met by way of the server, which is met first: two round trips with each.
    """
    to_server = 2 * homes.ROUND_TRIP_TO_HUB + 0.05
    to_client = to_server + 2 * homes.ROUND_TRIP
    figures = [
        Figure("R1", "cold start to the server's first echo", to_server, tuple(pairs.first_echo_of_server)),
        Figure("R1", "cold start to the other home's first echo", to_client, tuple(pairs.first_echo)),
    ]
    held(figures, PAIRS)


def test_two_cold_homes_are_direct_within_a_second(pairs: homes.Runs, held: Judge) -> None:
    held([Figure("R2", "cold start to data direct both ways", 1.0, tuple(pairs.direct))], PAIRS)


def test_clients_are_back_within_three_seconds_of_each_of_twenty_restarts_of_a_server(
    killed: restarts.Restarts, held: Judge
) -> None:
    figures = [
        Figure("R3", "server killed: outage of those relayed", 3.0, tuple(killed.relayed)),
        Figure("R3", "server killed: outage of talk with it", 3.0, tuple(killed.talking_to_server)),
    ]
    held(figures, RUNS)


def test_direct_pairs_lose_nothing_while_the_server_restarts(killed: restarts.Restarts) -> None:
    assert not any(killed.lost.values()), f"killed at {killed.killed}, lost what was sent at {killed.lost}"
    assert not any(killed.twice.values()), killed.twice
    assert (len(killed.lost), len(killed.twice)) == (SERVERS, 3 * SERVERS)


def test_a_nat_that_gives_new_ports_costs_less_than_three_seconds(pairs: homes.Runs, held: Judge) -> None:
    assert len(pairs.new_ports) == PAIRS, f"the new port was seen of pairs {pairs.new_ports} only"
    held([Figure("R5", "NAT flushed, new port: outage", 3.0, tuple(pairs.flushed))], PAIRS)


def test_a_direct_path_that_dies_costs_less_than_a_second_and_a_half(pairs: homes.Runs, held: Judge) -> None:
    held([Figure("R6", "direct path cut: outage", 1.5, tuple(pairs.cut))], PAIRS)


def test_nothing_is_lost_on_the_way_to_a_direct_path_and_nothing_ever_comes_twice(pairs: homes.Runs) -> None:
    """Lost: from the cold start until direct data has settled, and from the relay to that once more."""
    assert not any(pairs.lost.values()), pairs.lost
    assert not any(pairs.twice.values()), pairs.twice
    assert len(pairs.lost) == len(pairs.twice) == PAIRS
