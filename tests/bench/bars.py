"""What was aimed at, line by line, against what a run has reached. A bar is a goal and never a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

Result = dict[str, Any]
OTHERS = ("wireguard-go", "openvpn", "fastd", "nebula", "tinc")


@dataclass(frozen=True, slots=True)
class Bar:
    """One line: what, how much was wanted, how much was reached, and whether that is enough."""

    what: str
    wanted: str
    reached: str
    verdict: str


def bars(result: Result) -> list[Bar]:
    """The lines for which the run has values."""
    return [*_of_tunnels(result), *_of_labs(result)]


def _of_tunnels(result: Result) -> Iterator[Bar]:
    """Ratios within a round; the median of them counts."""

    def over(key: str, *others: str) -> list[float]:
        """ltk direct by the best of the others, of each round that has both."""
        return _by_round(result, "ltk direct", key, others, max)

    yield from _line("TCP, one stream, by the best of Debian's", over("tcp1_mbit", *OTHERS), 3.5, "×")
    newer = over("tcp1_mbit", "wireguard-go newer")
    yield from _line("TCP, one stream, by a newer wireguard-go", newer, 1.0, "×")
    yield from _line("UDP, 1300 B, by wireguard-go", over("udp_full_pps", "wireguard-go"), 1.2, "×")
    added = [
        (own - bare) / (other - bare)
        for own, bare, other in _together(result, "idle_ms", "ltk direct", "veth", "wireguard-go")
        if other > bare
    ]
    yield from _line("added round trip, idle, by wireguard-go", added, 0.5, "×", at_most=True)
    relayed = _by_round(result, "ltk relayed", "tcp1_mbit", ("ltk direct",), max)
    yield from _line("TCP relayed, by direct", relayed, 0.7, "×")
    memory = [each for (each,) in _together(result, "rss_mb", "ltk direct")]
    yield from _line("memory of a node, resident", memory, 30, " MB", at_most=True)


def _of_labs(result: Result) -> Iterator[Bar]:
    hundred = [each["values"] for each in result["labs"] if each["size"] == 100]
    yield from _line("100 sites, apply", [each["apply_s"] for each in hundred], 3, " s", at_most=True)
    again = [each["apply_again_s"] for each in hundred]
    yield from _line("100 sites, apply again", again, 0.3, " s", at_most=True)
    small = [each["values"]["status_s"] for each in result["labs"] if each["size"] == 10]
    yield from _line("`ltk status`, 10 sites", small, 0.4, " s", at_most=True)
    yield from _line("`ltk --help`", result["help_s"], 0.15, " s", at_most=True)
    crowd = [each["values"] for each in result["crowd"] if each["size"] == 1000]
    for what, key, bar, unit in (
        ("1000 clients, all up", "up_s", 30.0, " s"),
        ("1000 clients, idle, of a core", "idle_cpu_percent", 5.0, " %"),
        ("1000 clients, memory of the server, resident", "rss_mb", 50.0, " MB"),
    ):
        yield from _line(what, [each[key] for each in crowd], bar, unit, at_most=True)


def _line(what: str, values: list[float], bar: float, unit: str, *, at_most: bool = False) -> Iterator[Bar]:
    """A line, where there is a value."""
    if not values:
        return
    middle = median(values)
    met = middle <= bar if at_most else middle >= bar
    spread = "" if len(values) == 1 else f" ({min(values):.2f}–{max(values):.2f})"
    wanted = f"{'≤' if at_most else '≥'} {bar:g}{unit}"
    verdict = "reached" if met else f"{middle / bar:.2f} of the bar"
    yield Bar(what, wanted, f"{middle:.2f}{unit}{spread}", verdict)


def _rounds(result: Result, key: str) -> list[dict[str, Any]]:
    """The values of one metric by tool, of each round."""
    rounds: dict[int, dict[str, Any]] = {}
    for each in result["rounds"]:
        rounds.setdefault(each["round"], {})[each["tool"]] = each["values"].get(key)
    return list(rounds.values())


def _together(result: Result, key: str, *tools: str) -> Iterator[tuple[float, ...]]:
    """The values of several tools in one round, of each round that has them all."""
    for found in _rounds(result, key):
        values = tuple(found.get(tool) for tool in tools)
        if all(value is not None for value in values):
            yield tuple(value for value in values if value is not None)


def _by_round(
    result: Result, own: str, key: str, others: tuple[str, ...], best: Callable[[list[float]], float]
) -> list[float]:
    found = []
    for values in _rounds(result, key):
        rivals = [values[other] for other in others if values.get(other)]
        if values.get(own) is not None and rivals:
            found.append(values[own] / best(rivals))
    return found
