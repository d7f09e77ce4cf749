"""The fourth lesson: announcing is soft state, repeated until it is acknowledged, whoever comes first.

In the first lab the server comes 65 s after its clients. In the second one, at the same time, each client has
trouble of its own; none of them is ever helped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from crowd import Crowd, up
from flows import flush_nat
from harness import wait_for

from ltk.supervise import client

LATE = ("alice", "bob")
SERVER_LATE = 65.0  # seconds

FIRST_LOST = {f"first{count}": count for count in (1, 2, 3, 4, 5)}
UNHEARD, LOSSY, MOVED = "unheard", "lossy", "moved"
SILENT = ("silent1", "silent2")
TROUBLED = (*FIRST_LOST, UNHEARD, LOSSY, MOVED)
CLIENTS = (*TROUBLED, *SILENT, "bob")
PAIRS = (*((each, "bob") for each in TROUBLED), SILENT)

INITIATION = 148 + 28  # bytes of an IP packet; the WireGuard paper, section 5.4
DATA_MESSAGE = "@th,64,8 4"  # the first byte behind the UDP header; the same
ANNOUNCEMENT = 28 + 32 + 32  # bytes of an IP packet with an announcement of up to three IPv4 candidates
RETRY, RETRY_JITTER = 5.0, 0.333  # seconds between handshakes that nobody answers
GAPS = (1, 2, 4, 8, 16, 32)  # seconds between announcements that nobody acknowledges; the last is the cap
JITTER = 0.1  # of each
SLACK = 2.0  # seconds by which a busy machine may be late
REFRESH = 66.0  # seconds between announcements that were acknowledged, at most
SUSPECT = 15.0  # seconds without an answer until a client shakes hands anew
ATTEMPT = 5.0  # seconds
BACK_OFF = 66.0  # seconds between attempts at most


@dataclass(frozen=True)
class Late:
    """The lab without a server, since when (Unix time), and what alice sends meanwhile."""

    crowd: Crowd
    since: float
    packets: Callable[[], list[str]]


@pytest.fixture(scope="module", autouse=True)
def late() -> Iterator[Late]:
    """Clients that have never known a server, from the start of this module on."""
    with up("late", LATE, [LATE]) as crowd:
        client.stop_node("late", "hub")
        with crowd.noting(
            "at-alice", "wan", "udp", "and", "src", crowd.flows.places.address["alice"]
        ) as packets:
            crowd.kill(*LATE)
            since = time.time()
            with crowd.pinging(LATE, interval=1.0):
                yield Late(crowd, since, packets)


@dataclass(frozen=True)
class Troubled:
    """The lab of many troubles, and what the unheard client sends to the hub since it is unheard."""

    crowd: Crowd
    since: float
    packets: Callable[[], list[str]]


@pytest.fixture(scope="module")
def troubled() -> Iterator[Troubled]:
    """The server has just lost its memory, of which only those hear at once who begin anew as well."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            # Datagrams that leave together are one packet to a capture, and that has no announcement's size.
            patch.setenv("LTK_OFFLOADS", "off")
            crowd = stack.enter_context(up("troubled", CLIENTS, PAIRS))
        flows, lab = crowd.flows, crowd.lab
        for each in CLIENTS:
            wait_for(lambda each=each: is_acknowledged(crowd, each), f"{each} to be announced")
        os.kill(lab.daemon_pid("hub"), signal.SIGKILL)
        for name, count in FIRST_LOST.items():
            first = f"numgen inc mod 65536 < {count}"
            flows.lose("hub", name, first)
            flows.lose(name, "hub", f"{DATA_MESSAGE} {first}")
        for way in ((LOSSY, "hub"), ("hub", LOSSY), (LOSSY, "bob"), ("bob", LOSSY)):
            flows.lose(*way, "numgen random mod 100 < 40")
        crowd.kill("bob", *TROUBLED)
        wait_for(lambda: is_acknowledged(crowd, UNHEARD), "the client to be announced again")
        a, hub = (flows.places.address[each] for each in (UNHEARD, "hub"))
        with crowd.noting("at-unheard", "wan", "udp", "and", "src", a, "and", "dst", hub) as packets:
            flows.cut("hub", UNHEARD)
            since = time.time()
            lab.run(UNHEARD, "ip", "address", "add", "192.168.1.77/24", "dev", "eth0")
            with crowd.pinging(*((each, "bob") for each in (*FIRST_LOST, LOSSY)), SILENT, interval=1.0):
                yield Troubled(crowd, since, packets)


def test_the_first_packets_may_be_lost_on_their_way_to_and_from_the_server(troubled: Troubled) -> None:
    crowd = troubled.crowd
    crowd.wait_until_direct(*((name, "bob") for name in FIRST_LOST), deadline=BACK_OFF + 10 * ATTEMPT)
    lost = crowd.flows.counted()
    for name, count in FIRST_LOST.items():
        assert (lost[f"lost_hub_{name}"], lost[f"lost_{name}_hub"]) == (count, count)


def test_a_pair_becomes_direct_through_forty_percent_loss(troubled: Troubled) -> None:
    crowd = troubled.crowd

    def is_direct() -> bool:
        """Half of the data takes the direct way; no way of so much loss is without doubt for long."""
        used = crowd.use([(LOSSY, "bob")], count=20, patience=2)[LOSSY, "bob"]
        return used.there >= 10 and used.back > 0

    wait_for(is_direct, "data to take the direct way through 40 % loss", 120)
    lost = crowd.flows.counted()
    assert min(lost[f"lost_{LOSSY}_hub"], lost[f"lost_hub_{LOSSY}"]) > 0, lost


def test_a_client_whose_nat_forgot_it_and_changed_its_port_becomes_direct(troubled: Troubled) -> None:
    crowd = troubled.crowd
    wait_for(lambda: is_acknowledged(crowd, MOVED), "the client to be announced")
    flush_nat(crowd.lab, f"at-{MOVED}", new_ports=True)
    before = crowd.told(MOVED)["endpoint_observed"]
    crowd.wait_until_direct((MOVED, "bob"), deadline=BACK_OFF + ATTEMPT)
    assert crowd.told(MOVED)["endpoint_observed"] != before, "the port did not change, which proves nothing"


def test_announcements_that_nobody_acknowledges_are_repeated_with_growing_gaps(troubled: Troubled) -> None:
    crowd = troubled.crowd
    times: list[float] = []

    def count() -> int:
        times[:] = times_of(troubled.packets(), ANNOUNCEMENT)
        return len(times)

    wait_for(lambda: count() >= 1, "the first announcement of a new address")
    for number, gap in enumerate(GAPS, start=2):
        patience = times[-1] + gap * (1 + JITTER) + SLACK - time.time()
        awaited = (
            f"announcement {number}, after those at {[round(each - troubled.since, 1) for each in times]} s"
        )
        wait_for(lambda number=number: count() >= number, awaited, max(patience, 0.1))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    for gap, expected in zip(gaps, GAPS, strict=False):
        assert expected * (1 - JITTER) - SLACK / 10 <= gap <= expected * (1 + JITTER) + SLACK, gaps
    crowd.flows.mend("hub", UNHEARD)
    crowd.wait_until_direct((UNHEARD, "bob"), deadline=BACK_OFF + ATTEMPT)


def test_clients_that_were_silent_are_introduced_by_a_server_that_lost_its_memory(troubled: Troubled) -> None:
    deadline = REFRESH + SUSPECT + BACK_OFF
    troubled.crowd.wait_until_direct(SILENT, deadline=deadline)


def test_a_server_that_starts_a_minute_late_needs_no_help(late: Late) -> None:
    crowd = late.crowd
    wait_for(lambda: time.time() - late.since >= SERVER_LATE, "65 s without a server", SERVER_LATE + 10)
    times = times_of(late.packets(), INITIATION)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) >= SERVER_LATE / (RETRY + RETRY_JITTER + SLACK / 10), times
    assert min(gaps) >= RETRY - SLACK / 10, gaps
    crowd.lab.apply()
    crowd.wait_until_direct(deadline=BACK_OFF + ATTEMPT)
    assert crowd.pings([LATE], 20)[LATE] == 20
    client.stop_node("late", "hub")  # the machine is to be as it was before this test


def is_acknowledged(crowd: Crowd, node: str) -> bool:
    told: dict[str, Any] = crowd.told(node)
    return bool(told and told["announcements"]["acknowledged"])


def times_of(lines: list[str], size: int) -> list[float]:
    """The Unix times of the packets of `size` bytes, as tcpdump tells of them."""
    end = f"length {size - 28}"
    return [float(line.split()[0]) for line in lines if line.endswith(end)]
