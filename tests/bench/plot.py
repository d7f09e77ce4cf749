"""Pictures of a run, where matplotlib is installed."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from report import DATAGRAMS, ROUND_TRIPS, STREAMS, Metric, values_of

BARS: tuple[Metric, ...] = (STREAMS[0], DATAGRAMS[2], ROUND_TRIPS[0], STREAMS[3])


def draw(result: dict[str, Any], path: Path) -> bool:
    """Write a PNG with a bar for each tool, from its least to its most, and what a client costs.

    Return False, with nothing written, where matplotlib is not installed or there is nothing to draw.
    """
    if importlib.util.find_spec("matplotlib") is None or not (result["rounds"] or result["crowd"]):
        return False
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("Agg")  # no screen is needed

    figure, axes = pyplot.subplots(2, 3, figsize=(15, 8), layout="constrained")
    for axis, metric in zip(axes.flat, BARS, strict=False):
        _bars(axis, result, metric)
    crowd = axes.flat[len(BARS)]
    memory = axes.flat[len(BARS) + 1]
    _by_clients(crowd, result, ("idle_us_per_client", "idle: CPU of a second, µs a client"))
    _by_clients(memory, result, ("rss_mb", "RSS, MB"), ("kb_per_client", "of that a session, kB"))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return True


def _by_clients(axis: Any, result: dict[str, Any], *kinds: tuple[str, str]) -> None:
    """What the server costs, as its clients grow in number."""
    for key, title in kinds:
        points = sorted(
            (each["size"], each["values"][key]) for each in result["crowd"] if key in each["values"]
        )
        axis.plot([size for size, _ in points], [value for _, value in points], "o-", label=title)
    axis.set_title("server, by clients")
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.legend()


def _bars(axis: Any, result: dict[str, Any], metric: Metric) -> None:
    found = {each["name"]: values_of(result, each["name"], metric.key) for each in result["tools"]}
    found = {name: values for name, values in found.items() if values and name != "veth"}
    for place, values in enumerate(found.values()):
        middle = sorted(values)[len(values) // 2]
        axis.barh(place, middle, xerr=[[middle - min(values)], [max(values) - middle]])
    axis.set_yticks(range(len(found)), list(found))
    axis.invert_yaxis()
    axis.set_title(metric.title)
    axis.locator_params(axis="x", nbins=5)  # more, and their numbers run into each other
