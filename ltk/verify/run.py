"""Runs the checks of a topology that is up, one after another."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ltk.errors import LtkError
from ltk.reconcile.faults import clear, inject
from ltk.reconcile.kept_faults import with_faults
from ltk.topology.expanded import Role, Topology
from ltk.topology.expected import Check, Claim, Program
from ltk.topology.faults import parse
from ltk.topology.quantities import duration_text, rate_text, share_text
from ltk.verify.carry import carried
from ltk.verify.echo import Echoes, Sending, exchange
from ltk.verify.ends import ends
from ltk.verify.inside import command_in, end_group
from ltk.verify.judge import objection
from ltk.verify.told import told_paths
from ltk.verify.witness import watch

SIZE = 200  # bytes of a datagram that is sent to see whether anything arrives
QUICK = Sending(count=10, size=SIZE, interval=0.02, patience=1.0)
SILENT_INTERVAL = 0.1  # seconds between datagrams of which none is to arrive
LOSS_COUNTS = (200, 2000)  # datagrams at least and at most, to tell a share that is lost
LOSS_INTERVAL = 0.004  # seconds; a loss is no longer than that, where nothing is overrun
LOSS_PATIENCE = 1.0  # seconds
PER_LOSS = 2_000_000  # so many, divided by the share in parts per million, are at least two losses
SHOWN = 20  # lines of a command's output


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one check; `problem` is None where it holds. What was measured names its units."""

    check: Check
    seconds: float
    problem: str | None = None
    measured: dict[str, float | str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return self.problem is None


class _FailedError(Exception):
    """The check does not hold; the words say why."""


def run_checks(
    topology: Topology, checks: Sequence[Check], listener: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Run the checks in their order on what is up; `listener` hears of each as it has ended."""
    results = []
    for check in checks:
        result = run_check(topology, check)
        results.append(result)
        listener(result)
    return results


def run_check(topology: Topology, check: Check) -> Result:
    """Run one check: its faults begin, it is looked whether it holds, and its faults end."""
    begin = time.monotonic()
    measured: dict[str, float | str] = {}
    problem = None
    try:
        with _broken(topology, check) as now:
            _look(now, check, measured)
    except _FailedError as error:
        problem = str(error)
    except LtkError as error:
        problem = f"{error} {error.hint or ''}".rstrip()
    return Result(check, time.monotonic() - begin, problem, measured)


@contextlib.contextmanager
def _broken(topology: Topology, check: Check) -> Iterator[Topology]:
    """Have the check's faults in force for as long as the body takes; gives what the lab is meanwhile."""
    entries = []
    try:
        for words in check.after:
            entries.append(inject(topology, parse(words, topology)))
        yield with_faults(topology)
    finally:
        for entry in reversed(entries):
            if entry is not None:  # otherwise it was over in a moment
                clear(topology, entry.number)


def _look(topology: Topology, check: Check, measured: dict[str, float | str]) -> None:
    match check:
        case Check(program=Program() as program, nodes=(node,)):
            _run(topology, check, program, node)
        case Check(claim=Claim.UNREACHABLE):
            _silence(topology, check)
        case _:
            _reach(topology, check, measured)
            if check.loss is not None:
                _lose(topology, check, check.loss, measured)
            if check.throughput is not None:
                _carry(topology, check, check.throughput, measured)


def _reach(topology: Topology, check: Check, measured: dict[str, float | str]) -> None:
    """Look until it holds or the time is up: what counts is the last look."""
    begin = time.monotonic()
    deadline = begin + check.within / 1e6
    while True:
        problem, echoes, way = _look_once(topology, check)
        if problem is None:
            break
        if time.monotonic() >= deadline:
            raise _FailedError(f"not within {duration_text(check.within)}: {problem}")
    if time.monotonic() > deadline:
        late = time.monotonic() - begin
        raise _FailedError(f"not within {duration_text(check.within)}, but after {late:.1f} s")
    if way is not None:
        measured["way"] = way
    if echoes.round_trip is not None:
        measured["rtt_ms"] = round(echoes.round_trip * 1000, 3)


def _look_once(topology: Topology, check: Check) -> tuple[str | None, Echoes, str | None]:
    one, other = check.nodes
    if all(topology.node(name).role is Role.CLIENT for name in check.nodes):
        before = told_paths(topology.name, one, other)
        seen = watch(topology, one, other)
        after = told_paths(topology.name, one, other)
        problem = objection(check.via, seen, after, (one, other))
        if problem is not None and before != after:  # it was going over from one to the other
            problem = objection(check.via, seen, before, (one, other))
        return problem, seen.echoes, seen.way.value
    echoes = exchange(*ends(topology, one, other), QUICK)
    return (None if echoes.reached else str(echoes)), echoes, None


def _silence(topology: Topology, check: Check) -> None:
    one, other = check.nodes
    count = max(1, round(check.within / 1e6 / SILENT_INTERVAL))
    sending = Sending(count, SIZE, SILENT_INTERVAL, SILENT_INTERVAL, stop_at_arrival=True)
    echoes = exchange(*ends(topology, one, other), sending)
    if echoes.arrived:
        raise _FailedError(f"what {one} sends arrives at {other}: {len(echoes.arrived)} of {echoes.sent}")


def _lose(topology: Topology, check: Check, most: int, measured: dict[str, float | str]) -> None:
    least, limit = LOSS_COUNTS
    count = min(limit, max(least, -(-PER_LOSS // most) if most else least))
    echoes = exchange(*ends(topology, *check.nodes), Sending(count, SIZE, LOSS_INTERVAL, LOSS_PATIENCE))
    measured["loss_percent"] = round(echoes.loss * 100, 3)
    if echoes.loss * 1e6 > most:
        lost = f"{echoes.sent - len(echoes.arrived)} of {echoes.sent} datagrams were lost on the way there"
        back = f"{len(echoes.arrived) - len(echoes.answered)} of {len(echoes.arrived)} on the way back"
        raise _FailedError(f"more than {share_text(most)} is lost: {lost}, {back}")


def _carry(topology: Topology, check: Check, least: int, measured: dict[str, float | str]) -> None:
    found = carried(*ends(topology, *check.nodes))
    measured["mbit_per_s"] = round(found / 1e6, 3)
    if found < least:
        raise _FailedError(f"TCP carries {found / 1e6:.3g} Mbit/s, not {rate_text(least)}")


def _run(topology: Topology, check: Check, program: Program, node: str) -> None:
    words = command_in(topology.name, node, ["/bin/sh", "-c", program.command])
    process = subprocess.Popen(
        words,
        cwd=program.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    try:
        said, _ = process.communicate(timeout=check.within / 1e6)
    except subprocess.TimeoutExpired as error:
        raise _FailedError(f"it did not end within {duration_text(check.within)}") from error
    finally:
        end_group(process)
    if process.returncode != 0:
        tail = "\n".join(said.rstrip().splitlines()[-SHOWN:])
        raise _FailedError(
            f"it ended with status {process.returncode}" + (f" and said:\n{tail}" if tail else "")
        )
