"""What is measured of one pair: streams, datagrams, round trips, and what they cost."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from places import Place, cpu_seconds, memory, run, stop, wait_for
from tools import Pair

from ltk.errors import LtkError

PAYLOADS = {"small": 64, "medium": 512, "full": 1300}  # bytes in a UDP datagram inside the tunnel
LOSS_LIMIT = 0.005  # of the datagrams that were sent; below it a rate counts as received without loss
UDP_STEPS = 6  # times that the range of rates is halved, on a logarithmic scale
UDP_RANGE = 64.0  # from the rate that could be sent at all down to the lowest that is tried: 64^(1/2^6) = 7 %
IDLE_PINGS = 200
PING_INTERVAL = 0.01  # seconds
CONNECT_TIME = 20.0  # seconds, for what iperf3 does beside its measuring
STREAMS = {"tcp1": 1, "tcp8": 8}

_ports = itertools.count(5201)  # a new one each time: datagrams that come late belong to nobody


def measure(pair: Pair, folder: Path, seconds: int, halvings: int = UDP_STEPS) -> dict[str, float | None]:
    """All values of a pair, by the keys of the report's metrics.

    `seconds` is the time for each measure, `halvings` how often the range of UDP rates is halved.
    Raises LtkError where a measure could not be taken.
    """
    wait_for(lambda: ping(pair, 1), f"an answer from {pair.target}")
    values: dict[str, float | None] = {}
    values["idle_ms"], values["idle_p99_ms"] = _median_and_p99(ping(pair, IDLE_PINGS))
    for name, streams in STREAMS.items():
        values[f"{name}_mbit"], values[f"{name}_retransmits"], cost = _tcp(pair, folder, streams, seconds)
        values[f"{name}_cpu_s_per_gb"] = cost
    values["load_ms"], values["load_p99_ms"] = _under_load(pair, folder, seconds)
    for name, size in PAYLOADS.items():
        values[f"udp_{name}_pps"] = fastest_without_loss(partial(_udp, pair, folder, size), halvings)
    if pair.nodes:
        used = [memory(pids) for pids in pair.nodes.values()]
        values["rss_mb"] = max(each.rss for each in used) / 1e6
        values["pss_mb"] = max(each.pss for each in used) / 1e6
    pair.check()
    return values


def ping(pair: Pair, count: int) -> list[float]:
    """The round trips of those pings that were answered, in milliseconds."""
    words = ("ping", "-n", "-c", str(count), "-i", str(PING_INTERVAL), "-W", "2", pair.target)
    printed = pair.left.run(*words, timeout=count * PING_INTERVAL + 30, check=False)
    return [float(time) for time in re.findall(r"time=([\d.]+) ms", printed)]


def _tcp(pair: Pair, folder: Path, streams: int, seconds: int) -> tuple[float, float, float | None]:
    """Mbit/s that arrived, retransmitted segments, and CPU seconds of all nodes for each gigabyte."""
    before = cpu_seconds(pair.pids)
    end = _iperf3(pair, folder, seconds, "-P", str(streams))
    used = cpu_seconds(pair.pids) - before
    received = end["sum_received"]
    gigabytes = received["bytes"] / 1e9
    if not gigabytes:
        raise LtkError("measuring TCP", "nothing arrived")
    rate = received["bytes"] * 8 / received["seconds"] / 1e6
    return rate, float(end["sum_sent"]["retransmits"]), used / gigabytes if pair.nodes else None


def _under_load(pair: Pair, folder: Path, seconds: int) -> tuple[float, float]:
    """Round trips beside one TCP stream."""
    with _iperf3_server(pair.right, folder) as port:
        words = ("iperf3", "-c", pair.target, "-p", port, "-t", str(seconds + 2))
        with pair.left.running(*words, log=folder / "load.log"):
            return _median_and_p99(ping(pair, int(seconds / PING_INTERVAL)))


def _median_and_p99(times: list[float]) -> tuple[float, float]:
    if len(times) < 2:
        raise LtkError("measuring round trips", f"{len(times)} pings were answered")
    return median(times), quantiles(times, n=100)[98]


@dataclass(frozen=True, slots=True)
class Trial:
    """Datagrams a second that were sent and received, of one try at one rate."""

    sent: float
    received: float

    @property
    def is_without_loss(self) -> bool:
        """Whether as good as all arrived."""
        return self.received >= (1 - LOSS_LIMIT) * self.sent


def fastest_without_loss(trial: Callable[[float | None], Trial], halvings: int = UDP_STEPS) -> float:
    """The most datagrams a second that arrive without loss; 0 where they do at no rate that was tried.

    `trial` sends at a rate, or with None as fast as it can. The range between that and a small part of it
    is halved, on a logarithmic scale.
    """
    found = trial(None)
    if found.is_without_loss:
        return found.received
    best, high = 0.0, found.sent
    low = high / UDP_RANGE
    for _ in range(halvings):
        rate = math.sqrt(low * high)
        found = trial(rate)
        if found.is_without_loss:
            best, low = max(best, found.received), rate
        else:
            high = rate
    return best


def _udp(pair: Pair, folder: Path, size: int, rate: float | None) -> Trial:
    bits = 0 if rate is None else round(rate * size * 8)
    end = _iperf3(pair, folder, 1, "-u", "-b", str(bits), "-l", str(size))["sum"]
    seconds, packets = end["seconds"], end["packets"]
    return Trial(packets / seconds, (packets - end["lost_packets"]) / seconds)


def _iperf3(pair: Pair, folder: Path, seconds: int, *options: str) -> dict[str, dict[str, float]]:
    """Run iperf3 from left to right; return the end of its report. 0 seconds would be for ever."""
    assert seconds >= 1
    with _iperf3_server(pair.right, folder) as port:
        words = ("iperf3", "-c", pair.target, "-p", port, "-t", str(seconds), "-J", *options)
        printed = pair.left.run(*words, timeout=seconds + CONNECT_TIME, check=False)
    report = json.loads(printed or '{"error": "it said nothing"}')
    if "error" in report:
        raise LtkError(f"running {' '.join(words)}", report["error"])
    end: dict[str, dict[str, float]] = report["end"]
    return end


@contextmanager
def _iperf3_server(place: Place, folder: Path) -> Iterator[str]:
    port = str(next(_ports))
    with place.running("iperf3", "-s", "-1", "-p", port, log=folder / "iperf3.log") as process:
        listening = place.command("ss", "-Hltn", f"sport = :{port}")
        wait_for(lambda: run(*listening), f"iperf3 to listen on port {port}")
        yield port
        stop(process)
