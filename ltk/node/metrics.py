"""What the daemons count, as Prometheus' metric families: names, units and labels of docs/cli.md.

Labels are bounded: nodes and peers are those of the topology, everything else is a word of a fixed list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PATHS = ("direct", "relay")
DIRECTIONS = ("tx", "rx")
TRANSPORTS = ("udp", "tcp")


class Statuses(Collector):
    """A collector over the statuses (as the control socket gives them) of some nodes.

    `look` is called for each scrape and gives a status by node; nodes that do not answer are left out.
    """

    def __init__(self, look: Mapping[str, Any] | None = None) -> None:
        self._fixed = look or {}

    def look(self) -> Mapping[str, Any]:
        """The statuses to tell of now."""
        return self._fixed

    def collect(self) -> Iterable[Metric]:
        """One family after the other, each over all nodes and peers."""
        statuses = self.look()
        yield from _of_peers([(node, peer) for node, told in statuses.items() for peer in told["peers"]])
        yield from _of_nodes(statuses)


def text(collector: Collector) -> str:
    """Everything that the collector has to tell, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


def _of_peers(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Metric]:
    attempts = _counter("ltk_p2p_attempts", "Attempts at a direct path that have ended.", "peer", "result")
    retries = _counter("ltk_p2p_retries", "Attempts at a direct path after a failed one.", "peer")
    probes = _counter("ltk_p2p_probes", "Probes of attempts at a direct path.", "peer", "method")
    switches = _counter("ltk_path_switches", "Changes between the direct path and the relay.", "peer")
    packets = _counter("ltk_path_packets", "Datagrams of a peer by path.", "peer", "path", "direction")
    octets = _counter("ltk_path_bytes", "Bytes of a peer by path (UDP payload).", "peer", "path", "direction")
    ages = _gauge("ltk_session_age_seconds", "Time since the last handshake.", "peer")
    round_trips = _gauge("ltk_rtt_seconds", "Smoothed round trip of the path in use.", "peer")
    for node, peer in pairs:
        labels = [node, peer["name"]]
        tried, failed = peer["direct_attempts"], peer["direct_failures"]
        attempts.add_metric([*labels, "failure"], failed)
        attempts.add_metric([*labels, "success"], peer["direct_successes"])
        retries.add_metric(labels, max(0, tried - 1))
        for method, count in peer["direct_probes"].items():
            probes.add_metric([*labels, method], count)
        switches.add_metric(labels, peer["switches"])
        for path in PATHS:
            for direction in DIRECTIONS:
                told = peer["by_path"][path]
                packets.add_metric([*labels, path, direction], told[f"{direction}_packets"])
                octets.add_metric([*labels, path, direction], told[f"{direction}_bytes"])
        if peer["handshake_age_s"] is not None:
            ages.add_metric(labels, peer["handshake_age_s"])
        if peer["rtt_ms"] is not None:
            round_trips.add_metric(labels, peer["rtt_ms"] / 1000)
    yield from (attempts, retries, probes, switches, packets, octets, ages, round_trips)


def _of_nodes(statuses: Mapping[str, Any]) -> Iterator[Metric]:
    announcements = _counter("ltk_announce_attempts", "Announcements to the server.", "result")
    handshakes = _counter("ltk_handshakes", "Handshakes by what became of them.", "result")
    drops = _counter("ltk_drops", "Datagrams and packets refused or lost, by reason.", "reason")
    switches = _counter("ltk_transport_switches", "Changes between UDP and TCP to the server.")
    transports = _gauge("ltk_transport", "1 for that by which the server is reached, else 0.", "transport")
    streams = _gauge("ltk_streams", "TCP streams that are open or being opened.")
    for node, told in statuses.items():
        switches.add_metric([node], told["transport_switches"])
        for transport in TRANSPORTS if told["role"] == "client" else ():
            transports.add_metric([node, transport], float(told["transport"] == transport))
        streams.add_metric([node], told["streams"])
        for result, count in told["announcements"].items():
            announcements.add_metric([node, result], count)
        for result, count in told["handshakes"].items():
            handshakes.add_metric([node, result], count)
        for reason, count in told["drops"].items():
            drops.add_metric([node, reason], count)
    yield from (announcements, handshakes, drops, switches, transports, streams)


def _counter(name: str, help_text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, labels=["node", *labels])


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=["node", *labels])
