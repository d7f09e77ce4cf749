"""From values to tables: medians with their spread, ratios within a round, and what was aimed at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bars import bars

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
OURS = "ltk direct"
AT_REST = 0.5  # processes that wanted a core before the run began, on average over a minute

Result = dict[str, Any]  # what the JSON file holds; see __main__


@dataclass(frozen=True, slots=True)
class Metric:
    """A column: the value's name, its title, its digits behind the point, and whether more is better."""

    key: str
    title: str
    digits: int = 0
    more_is_better: bool = True


STREAMS = (
    Metric("tcp1_mbit", "TCP, 1 stream, Mbit/s"),
    Metric("tcp8_mbit", "TCP, 8 streams, Mbit/s"),
    Metric("tcp1_retransmits", "retransmitted, 1 stream", 0, False),
    Metric("tcp1_cpu_s_per_gb", "CPU s/GB, 1 stream", 1, False),
    Metric("tcp8_cpu_s_per_gb", "CPU s/GB, 8 streams", 1, False),
)
DATAGRAMS = (
    Metric("udp_small_pps", "UDP 64 B, packets/s"),
    Metric("udp_medium_pps", "UDP 512 B, packets/s"),
    Metric("udp_full_pps", "UDP 1300 B, packets/s"),
)
ROUND_TRIPS = (
    Metric("idle_ms", "idle, median, ms", 2, False),
    Metric("idle_p99_ms", "idle, p99, ms", 2, False),
    Metric("load_ms", "beside TCP, median, ms", 2, False),
    Metric("load_p99_ms", "beside TCP, p99, ms", 2, False),
    Metric("rss_mb", "node, RSS, MB", 1, False),
    Metric("pss_mb", "node, PSS, MB", 1, False),
)
LABS = (
    Metric("apply_s", "apply", 2, False),
    Metric("reached_s", "first ping, after that", 2, False),
    Metric("apply_again_s", "apply again", 2, False),
    Metric("change_one_s", "change one", 2, False),
    Metric("status_s", "status", 2, False),
    Metric("destroy_s", "destroy", 2, False),
)
CORE = (
    Metric("seal_64_pps", "packets of 64 B sealed, one by one"),
    Metric("open_64_pps", "opened"),
    Metric("seal_1380_pps", "packets of 1380 B sealed, one by one"),
    Metric("open_1380_pps", "opened"),
    Metric("seal_burst_pps", "datagrams of super-packets sealed"),
    Metric("open_burst_pps", "opened and joined"),
    Metric("handshakes_per_s", "handshakes, both sides"),
)
CROWD = (
    Metric("up_s", "all up, s", 2, False),
    Metric("up_cpu_s", "server's CPU for that, s", 2, False),
    Metric("idle_cpu_percent", "idle, % of a core", 2, False),
    Metric("idle_us_per_client", "of that a client, µs a second", 1, False),
    Metric("rss_mb", "RSS, MB", 1, False),
    Metric("pss_mb", "PSS, MB", 1, False),
    Metric("kb_per_client", "grown by a session, kB", 1, False),
    Metric("status_s", "its status, s", 3, False),
)
DAEMONS = (
    *CROWD[:3],
    *CROWD[4:6],
    Metric("ping_s", "a ping from each daemon, s", 2, False),
    Metric("status_s", "`ltk status`, s", 2, False),
)
MININET = (
    Metric("ltk_up_s", "ltk, up", 2, False),
    Metric("mininet_up_s", "mininet, up", 2, False),
    Metric("ltk_down_s", "ltk, down", 2, False),
    Metric("mininet_down_s", "mininet, down", 2, False),
)
MESSAGES = (
    Metric("apply", "apply"),
    Metric("apply_again", "apply again"),
    Metric("change_one", "change one"),
    Metric("destroy", "destroy"),
    Metric("ltk_up", "hosts alone: ltk, up"),
    Metric("mininet_up", "mininet, up"),
    Metric("ltk_down", "ltk, down"),
    Metric("mininet_down", "mininet, down"),
)
RATIOS = (STREAMS[0], STREAMS[1], *DATAGRAMS, ROUND_TRIPS[0], STREAMS[3])


def markdown(result: Result) -> str:
    """The whole report: for a terminal as for a document."""
    parts = [_machine(result)]
    if result["rounds"]:
        parts += [
            _tools(result),
            "### Streams\n\n" + _by_tool(result, STREAMS),
            "### Datagrams received without loss\n\n" + _by_tool(result, DATAGRAMS),
            "### Round trips and memory\n\n" + _by_tool(result, ROUND_TRIPS),
            "### ltk direct as a multiple of the others\n\n" + _ratios(result),
        ]
    if result["labs"]:
        parts.append("### Labs, seconds\n\n" + _by_size(result["labs"], "sites", LABS))
    if result.get("mininet"):
        about = "### Hosts behind NATs without tunnels, seconds\n\n"
        parts.append(about + _by_size(result["mininet"], "hosts", MININET))
    if result.get("messages"):
        parts.append("### Netlink messages for that\n\n" + _by_size(result["messages"], "sites", MESSAGES))
    if result["core"]:
        runs = result["core"]
        rows = [[each.title, _spread([run[each.key] for run in runs], each.digits)] for each in CORE]
        parts.append("### The protocol alone, in a second of CPU time\n\n" + table(["", "rate"], rows))
    if result["crowd"]:
        parts.append("### Clients on one server\n\n" + _by_size(result["crowd"], "clients", CROWD))
    if result.get("daemons"):
        about = "### Daemons in a lab among a thousand clients\n\n"
        parts.append(about + _by_size(result["daemons"], "daemons", DAEMONS))
    if reached := bars(result):
        rows = [[bar.what, bar.wanted, bar.reached, bar.verdict] for bar in reached]
        parts.append("### What was aimed at\n\n" + table(["", "bar", "reached", ""], rows))
    return "\n\n".join(parts) + "\n"


def write_document(result: Result, path: Path = DOCUMENT) -> None:
    """Replace what stands between the two marks in the document."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{path} has no {BEGIN}"
    assert end, f"{path} has no {END}"
    path.write_text(f"{before}{begin}\n\n{markdown(result)}\n{end}{after}")


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown whose columns are aligned to the eye as well."""
    lines = [list(titles), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def values_of(result: Result, tool: str, key: str) -> list[float]:
    """A tool's values of one metric, round by round, where it has any."""
    found = (each["values"].get(key) for each in result["rounds"] if each["tool"] == tool)
    return [value for value in found if value is not None]


def ratios_of(result: Result, tool: str, other: str, key: str) -> list[float]:
    """A tool's values as multiples of another's in the same round."""
    by_round = {each["round"]: each["values"] for each in result["rounds"] if each["tool"] == other}
    found = []
    for each in result["rounds"]:
        if each["tool"] == tool and each["round"] in by_round:
            own, theirs = each["values"].get(key), by_round[each["round"]].get(key)
            if own is not None and theirs:
                found.append(own / theirs)
    return found


def _machine(result: Result) -> str:
    facts = [[name, value] for name, value in result["machine"].items()]
    options = result["options"]
    facts.append(["rounds", f"{options['rounds']}, {options['seconds']} s a measure"])
    told = table(["measured on", ""], facts)
    if float(result["machine"]["load before"]) <= AT_REST:
        return told
    return f"{told}\n\n**The machine was at other work as well: these figures say little, even as ratios.**"


def _tools(result: Result) -> str:
    rows = [[each["name"], each["version"], each["about"], each["state"]] for each in result["tools"]]
    return table(["tool", "version", "", "measured"], rows)


def _measured(result: Result) -> list[str]:
    with_values = {each["tool"] for each in result["rounds"]}
    return [each["name"] for each in result["tools"] if each["name"] in with_values]


def _by_tool(result: Result, metrics: Sequence[Metric]) -> str:
    rows = [
        [tool, *(_spread(values_of(result, tool, each.key), each.digits) for each in metrics)]
        for tool in _measured(result)
    ]
    return table(["", *(each.title for each in metrics)], rows)


def _ratios(result: Result) -> str:
    rows = [
        [tool, *(_spread(ratios_of(result, OURS, tool, each.key), 2) for each in RATIOS)]
        for tool in _measured(result)
        if tool != OURS
    ]
    titles = [each.title + ("" if each.more_is_better else " (less is better)") for each in RATIOS]
    return table(["", *(re.sub(", (Mbit/s|ms|packets/s)", "", title) for title in titles)], rows)


def _by_size(measured: Sequence[Result], what: str, metrics: Sequence[Metric]) -> str:
    rows = []
    for size in dict.fromkeys(each["size"] for each in measured):
        runs = [each["values"] for each in measured if each["size"] == size]
        cells = [_spread([run[each.key] for run in runs if each.key in run], each.digits) for each in metrics]
        rows.append([str(size), *cells])
    return table([what, *(each.title for each in metrics)], rows)


def _spread(values: Sequence[float], digits: int) -> str:
    """ "median (least–most)", or one number where there is one; "–" for none."""
    if not values:
        return "–"
    told = f"{median(values):,.{digits}f}"
    return told if len(values) == 1 else f"{told} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
