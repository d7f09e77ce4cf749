"""The benchmark: python tests/bench [options], as root. See docs/performance.md.

Tools are measured in turns, round by round, so that what else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import core
import crowd
import crowd_lab
import labs
import machine
import measures
import messages
import mininet_side
import plot
import report
from places import underlay
from tools import TOOLS, Tool

from ltk.errors import BusyError, InvalidInputError, LtkError, MissingError

LOCK = Path("/run/ltk-bench.lock")
ALONE = ("labs", "mininet", "messages", "core", "crowd", "daemons")  # what is not about tunnels side by side
NAMES = (*(tool.key for tool in TOOLS), *ALONE)


def main(arguments: Sequence[str]) -> int:
    """Run it; the value is the exit status, which says nothing about speed."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is up is taken down
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where `su` and some services do not look
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have what they run compiled
    os.environ["PYTHONPATH"] = f"{machine.REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"
    try:
        if options.read:
            result = json.loads(Path(options.read).read_text())
        else:
            with _alone_on_this_machine(), tempfile.TemporaryDirectory(prefix="ltk-bench-") as folder:
                result = _run(options, Path(folder))
    except LtkError as error:
        print(f"bench: {error}", *([error.hint] if error.hint else []), sep="\n", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("bench: interrupted; what was up is down again", file=sys.stderr)
        return 130
    _tell(result, options)
    return 1 if any(each["state"].startswith("failed") for each in result["tools"]) or result["failed"] else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each tool; 5")
    parser.add_argument("--seconds", type=int, default=5, help="for each measure; 5")
    parser.add_argument("--halvings", type=int, default=6, help="of the range of UDP rates; 6")
    parser.add_argument("--only", default="", help=f"some of these, with commas: {', '.join(NAMES)}")
    parser.add_argument("--sites", default="10,100", help="sizes of labs; 10,100 (300 takes long)")
    sizes = "10,30,100,300,1000"
    parser.add_argument("--clients", default=sizes, help=f"of the crowd; {sizes}")
    parser.add_argument("--daemons", default="100", help="of these, so many are daemons in a lab; 100")
    parser.add_argument("--among", type=int, default=1000, help="clients, of which those are some; 1000")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds for which the crowd idles; 60")
    parser.add_argument("--output", default="build/bench", help="where NAME.json and .png go; build/bench")
    parser.add_argument("--read", default="", help="report this JSON file of an earlier run; measure nothing")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if options.rounds < 1 or options.seconds < 1:
        raise InvalidInputError("reading the options", "--rounds and --seconds are at least 1")
    wanted = [word.strip() for word in options.only.split(",") if word.strip()] or list(NAMES)
    if unknown := [word for word in wanted if word not in NAMES]:
        hint = f"There are: {', '.join(NAMES)}"
        raise InvalidInputError("reading the options", f"--only: there is no {unknown[0]!r}", hint=hint)
    if os.geteuid() != 0:
        raise MissingError("starting", "it makes namespaces and devices", hint="Run it as root.")
    machine.need(machine.COMMON)
    result: dict[str, Any] = {
        "version": 1,
        "machine": machine.describe(),
        "options": {"rounds": options.rounds, "seconds": options.seconds, "idle": options.idle},
        "tools": [],
        "rounds": [],
        "labs": [],
        "mininet": [],
        "messages": [],
        "core": [],
        "crowd": [],
        "daemons": [],
        "help_s": [],
        "failed": [],
    }
    ready = [tool for tool in TOOLS if tool.key in wanted and _is_there(tool, result)]
    try:
        for number in range(1, options.rounds + 1):
            for tool in ready:
                _turn(tool, number, options, folder, result)
            if "core" in wanted:
                _say(f"round {number}: core")
                result["core"].append(core.measure())
        _of_ltk_alone(wanted, options, folder, result)
    finally:  # what has been measured is worth keeping, whatever ends the run
        _keep(result, options)
    return result


def _keep(result: dict[str, Any], options: argparse.Namespace) -> None:
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    _say(f"all values: {output.with_suffix('.json')}")


def _is_there(tool: Tool, result: dict[str, Any]) -> bool:
    """Whether the tool can be measured; where it is missing, an attempt is made to install it."""
    about = {"name": tool.name, "about": tool.about, "version": "–", "state": "yes"}
    result["tools"].append(about)
    try:
        machine.need(tool.programs)
    except MissingError as error:
        about["state"] = f"absent: {error.problem}"
        return False
    about["version"] = machine.version_of(*tool.version)
    return True


def _turn(tool: Tool, number: int, options: argparse.Namespace, folder: Path, result: dict[str, Any]) -> None:
    """One tool, once. Where it fails, the run goes on, and the failure is part of the result."""
    _say(f"round {number}: {tool.name}")
    place = folder / f"{number}-{tool.key}"
    place.mkdir()
    try:
        with underlay(hub=tool.hub) as net, tool.up(net, place) as pair:
            values = measures.measure(pair, place, options.seconds, options.halvings)
    except LtkError as error:
        _say(f"{tool.name} failed: {error}")
        about = next(each for each in result["tools"] if each["name"] == tool.name)
        about["state"] = f"failed in round {number}: {error.doing}: {error.problem.splitlines()[0]}"
        return
    result["rounds"].append({"round": number, "tool": tool.name, "values": values})


def _of_ltk_alone(
    wanted: Sequence[str], options: argparse.Namespace, folder: Path, result: dict[str, Any]
) -> None:
    def add(name: str, size: int, measure: Callable[[], dict[str, float]]) -> None:
        _say(f"{name}: {size}")
        try:
            result[name].append({"size": size, "values": measure()})
        except LtkError as error:
            _say(f"{name} of {size} failed: {error}")
            result["failed"].append(f"{name} of {size}: {error}")

    if "labs" in wanted:
        result["help_s"] = [labs.help_seconds() for _ in range(options.rounds)]
        for size in (int(each) for each in options.sites.split(",")):
            add("labs", size, partial(labs.measure, size, folder))
    if "mininet" in wanted:
        for size in (int(each) for each in options.sites.split(",")):
            add("mininet", size, partial(mininet_side.measure, size, folder))
    if "messages" in wanted:
        for size in (int(each) for each in options.sites.split(",")):
            add("messages", size, partial(messages.measure, size, folder))
    if "crowd" in wanted:
        for size in (int(each) for each in options.clients.split(",")):
            add("crowd", size, partial(crowd.measure, size, options.idle, folder))
    if "daemons" in wanted:
        for size in (int(each) for each in options.daemons.split(",")):
            add("daemons", size, partial(crowd_lab.measure, size, options.among, options.idle, folder))


def _tell(result: dict[str, Any], options: argparse.Namespace) -> None:
    print(report.markdown(result))
    for each in result["failed"]:
        print(f"failed: {each}")
    picture = Path(options.output).with_suffix(".png")
    if plot.draw(result, picture):
        _say(f"pictures: {picture}")
    if options.write_docs:
        report.write_document(result)
        plot.draw(result, report.DOCUMENT.with_suffix(".png"))
        _say(f"written: {report.DOCUMENT}")


@contextmanager
def _alone_on_this_machine() -> Iterator[None]:
    """Two of these would measure each other."""
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("starting", "another benchmark runs on this machine") from None
        yield


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
