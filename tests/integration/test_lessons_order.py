"""The second lesson: no order of events and no delay makes a difference, and no sleep stands for an order."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime

import pytest
from crowd import Crowd, up
from detour import detour, late_control
from harness import wait_for

DELAYS = (0, 20, 50, 100, 300, 500, 1000, 3000)  # milliseconds
LATE = {f"late{delay}": delay / 1000 for delay in DELAYS}
OTHERS = ("bob", "carol")  # bob is there all the time, carol is stopped while she registers
CLIENTS = (*LATE, *OTHERS)
PAIRS = tuple((late, other) for other in OTHERS for late in LATE)
STOPPED = 2.0  # seconds
WORDS = (
    5  # datagrams of the server that a client needs: a response, HELLO, what it is seen as, two introductions
)
TICK = 0.001  # seconds; the log's times are cut to it


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """One client for each delay, whom the server's own messages reach so much later, and nobody else."""
    with up("order", CLIENTS, PAIRS) as made:
        yield made


def test_no_delay_of_control_messages_and_no_stopped_client_keeps_a_pair_from_being_direct(
    crowd: Crowd,
) -> None:
    address = crowd.flows.places.address
    hold = late_control({address[name]: delay for name, delay in LATE.items()})
    with (
        detour(crowd.lab, address["hub"], [address[name] for name in LATE], hold) as held,
        crowd.lab.capture("internet", "any", "udp") as capture,
    ):
        begun = crowd.kill(*LATE, "carol")
        wait_for(lambda: registered(crowd, "carol", begun["carol"]), "carol to register")
        carol = crowd.lab.daemon_pid("carol")
        os.kill(carol, signal.SIGSTOP)
        with crowd.pinging(*PAIRS):
            crowd.lab.ping("hub", crowd.address("bob"), "-i", "0.2", count=int(STOPPED / 0.2))
            os.kill(carol, signal.SIGCONT)
            crowd.wait_until_direct()
        lost = {pair: used for pair, used in crowd.use(count=50).items() if not used.took_the_direct_way}
        assert not lost, f"lost packets, or used another way, once all were direct: {lost}"
        packets = capture()
    for late in LATE:
        log = crowd.log(late)[begun[late] :]
        assert held[address[late]] >= WORDS, f"{late} was to be told late what it knows: {held}"
        for other in OTHERS:
            events = [line for line in log.splitlines() if f" {other}: " in line]
            words = [line.partition(f" {other}: ")[2].split()[0] for line in events]
            assert words[0] == "registered", f"{late} did something about {other} before it knew it: {events}"
            first = first_packet(packets, address[late], address[other])
            assert time_of(events[0]) <= first, f"a probe of {late} to {other} before: {events[0]}"


def registered(crowd: Crowd, client: str, since: int) -> bool:
    return "hub: handshake completed" in crowd.log(client)[since:]


def time_of(line: str) -> float:
    return datetime.fromisoformat(line.split()[0]).timestamp()


def first_packet(capture: bytes, source: str, target: str) -> float:
    """When the first packet from one address to another passed, in Unix time; it has to have."""
    words = ["tcpdump", "-tt", "-n", "-r", "-", "src", source, "and", "dst", target]
    said = subprocess.run(words, input=capture, capture_output=True, check=True).stdout
    assert said, f"no packet from {source} to {target}"
    return float(said.split()[0]) + TICK
