"""`ltk test`: bring a topology up, find out whether its checks hold, take it down."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltk.cli.changes import Progress
from ltk.cli.common import emit, expanded, output_option, say, text_of, topology_argument
from ltk.errors import BusyError, InvalidInputError, LtkError

if TYPE_CHECKING:
    from ltk.topology.expanded import Topology
    from ltk.verify.run import Result

FAILED = 2


@click.command("test", epilog="Example:  ltk test topologies/quickstart.yaml --junit report.xml")
@topology_argument
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the results to FILE as JUnit XML.",
)
@click.option("--keep", is_flag=True, help="Leave it up afterwards.")
@click.option("--no-apply", is_flag=True, help="Check the one that is up, and leave it up.")
@output_option
def command(topology: str, junit: Path | None, keep: bool, no_apply: bool, output: str) -> int:
    """Bring TOPOLOGY up, run its checks one after another, and take it down, whatever has happened.

    Exits with 2 where a check has failed. Then the logs and the status are kept in a folder that is named.
    """
    text = text_of(topology)
    wanted = expanded(text)
    _refuse(wanted, no_apply)
    began, begin = datetime.now(UTC), time.monotonic()
    evidence: Path | None = None
    with _ended_like_ctrl_c(), _up(wanted, stay=keep or no_apply, apply=not no_apply):
        results = _run(wanted, output)
        if not all(each.passed for each in results):
            evidence = _keep(wanted)
    seconds = time.monotonic() - begin
    if junit is not None:
        _write(junit, wanted.name, results, began, seconds)
    _report(wanted.name, results, seconds, evidence, output)
    return 0 if evidence is None else FAILED


def _refuse(wanted: Topology, no_apply: bool) -> None:
    """Whatever can be refused is refused before the first change."""
    from ltk.reconcile.apply import exists

    doing = f"testing {wanted.name}"
    if wanted.here is not None:
        hint = "Elsewhere, or after `ltk destroy`, the same file is tried in its lab."
        raise InvalidInputError(doing, f"this machine is {wanted.here} of it", hint=hint)
    if not wanted.checks:
        hint = "Say what has to hold, such as checks: [{reach: [alice, bob]}], see docs/testing.md."
        raise InvalidInputError(doing, "it has no checks", hint=hint)
    if exists(wanted.name) and not no_apply:
        hint = f"As it is: ltk test --no-apply {wanted.name}. Or first: ltk destroy {wanted.name}"
        raise InvalidInputError(doing, "it is up already", hint=hint)
    if no_apply and not exists(wanted.name):
        raise InvalidInputError(doing, "it is not up", hint="Leave out --no-apply.")


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C does: what was brought up is taken down."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _up(wanted: Topology, *, stay: bool, apply: bool) -> Iterator[None]:
    """Bring it up for as long as the body takes; with `stay` for longer, unless it did not come up.

    What another ltk has brought up meanwhile is not taken down: BusyError.
    """
    from ltk.reconcile.apply import remove

    ours, came_up = apply, False
    try:
        if apply:
            _bring_up(wanted)
        came_up = True
        yield
    except BusyError:
        ours = came_up and apply
        raise
    finally:
        if ours and not (stay and came_up):
            with _undisturbed():
                remove(wanted.name, lambda _: None)
        elif ours:
            say(f"{wanted.name} is still up; remove it: ltk destroy {wanted.name}")


def _bring_up(wanted: Topology) -> None:
    from ltk.reconcile.apply import converge

    progress = Progress(f"applying {wanted.name}")
    try:
        outcome = converge(wanted, progress, undo=False)  # what came up of it is looked at first
    except BusyError:
        raise
    except LtkError:
        say(f"it did not come up; logs and status: {_keep(wanted)}")
        raise
    finally:
        progress.end()
    if not outcome.operations:
        raise BusyError(f"testing {wanted.name}", "another ltk has just brought it up")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C keep it from being taken down, which takes seconds at most."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _run(wanted: Topology, output: str) -> list[Result]:
    from ltk.verify.run import run_checks

    shown = (lambda _: None) if output == "json" else _show
    return run_checks(wanted, wanted.checks, shown)


def _show(result: Result) -> None:
    """One line for the check, and why it failed below it."""
    word, colour = ("passed", "green") if result.passed else ("FAILED", "red")
    measured = ", ".join(_in_words(key, value) for key, value in result.measured.items())
    line = f"{click.style(word, fg=colour)}  {result.check.name}  ({result.seconds:.1f} s"
    click.echo(line + (f"; {measured})" if measured else ")"))
    for words in (result.problem or "").splitlines():
        click.echo(f"        {words}")


def _in_words(key: str, value: float | str) -> str:
    match key:
        case "rtt_ms":
            return f"{value} ms"
        case "loss_percent":
            return f"{value}% lost"
        case "mbit_per_s":
            return f"{value} Mbit/s"
    return str(value)


def _keep(wanted: Topology) -> Path:
    from ltk.cli.status import collect
    from ltk.verify.evidence import keep

    folder = Path(tempfile.mkdtemp(prefix=f"ltk-test-{wanted.name}-"))
    keep(wanted.name, folder, lambda: collect(wanted, wanted.name))
    return folder


def _write(junit: Path, topology: str, results: Sequence[Result], began: datetime, seconds: float) -> None:
    from ltk.verify.junit import junit as as_xml

    try:
        junit.write_bytes(as_xml(topology, results, began, seconds))
    except OSError as error:
        raise LtkError(f"writing {junit}", str(error.strerror)) from None


def _report(
    topology: str, results: Sequence[Result], seconds: float, evidence: Path | None, output: str
) -> None:
    failed = sum(not each.passed for each in results)
    if output == "json":
        emit(
            {
                "topology": topology,
                "passed": len(results) - failed,
                "failed": failed,
                "duration_s": round(seconds, 3),
                "evidence": str(evidence) if evidence else None,
                "checks": [_as_json(each) for each in results],
            }
        )
        return
    counted = [f"{failed} failed"] if failed else []
    counted += [f"{len(results) - failed} passed"] if len(results) > failed else []
    say(f"{topology}: {', '.join(counted)} in {seconds:.1f} s")
    if evidence:
        say(f"  logs and status: {evidence}")


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.check.name,
        "passed": result.passed,
        "duration_s": round(result.seconds, 3),
        "problem": result.problem,
        "measured": result.measured,
    }
