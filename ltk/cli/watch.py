"""`ltk watch`: what is changed by others, as it happens; and put right."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ltk.cli.changes import COLOURS, as_json, count
from ltk.cli.common import JSON_VERSION, load, output_option, say, topology_argument

if TYPE_CHECKING:
    from ltk.reconcile.plan import Operation
    from ltk.reconcile.vigil import Said


@click.command("watch", epilog="Example:  ltk watch quickstart --fix")
@topology_argument
@click.option("--fix", is_flag=True, help="Put right what differs, within a second.")
@output_option
def command(topology: str, fix: bool, output: str) -> None:
    """Print a line for each thing that differs from the topology, when it happens, until Ctrl-C.

    With -o json each line is a JSON object. What does not bear ltk's mark is never changed. What somebody
    else changes back each time is put right with growing gaps.
    """
    from ltk.reconcile.watch import Watch

    wanted = load(topology)
    tell = _print_json if output == "json" else _print
    with Watch(wanted, tell, repairing=fix) as watch:
        say(f"watching {wanted.name}{' and putting right what differs' if fix else ''}; Ctrl-C ends it")
        if not watch.run():
            say(f"{wanted.name} is gone")


def _print(said: Said) -> None:
    now = time.time()
    clock = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03}"
    click.echo(f"{clock}  {_sentence(said)}")


def _sentence(said: Said) -> str:
    from ltk.reconcile.vigil import Blocked, Contested, Drifted, Failed, Repaired, Righted

    match said:
        case Drifted(operation):
            return f"differs:  {_coloured(operation)}  ({operation.reason})"
        case Righted(operation):
            return f"right again:  {operation.resource}"
        case Repaired(operations, after):
            return f"put right after {after * 1000:.0f} ms:  {_few(operations)}"
        case Contested(operation, times, gap):
            return (
                f"contested:  {operation.resource}  (put right {times} times, and somebody changes it back: "
                f"left alone for {gap:.0f} s)"
            )
        case Blocked(words):
            return f"in the way:  {words}"
        case Failed(error, gap):
            return f"failed:  {error}  (trying again in {gap:g} s)"


def _coloured(operation: Operation) -> str:
    return click.style(str(operation), fg=COLOURS[operation.action])


def _few(operations: tuple[Operation, ...]) -> str:
    return str(operations[0]) if len(operations) == 1 else count(operations)


def _print_json(said: Said) -> None:
    now = time.time()
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"
    click.echo(json.dumps({"version": JSON_VERSION, "time": moment, **_event(said)}))


def _event(said: Said) -> dict[str, Any]:
    from ltk.reconcile.vigil import Blocked, Contested, Drifted, Failed, Repaired, Righted

    match said:
        case Drifted(operation):
            return {"event": "drift", **as_json([operation])[0]}
        case Righted(operation):
            return {"event": "right-again", **as_json([operation])[0]}
        case Repaired(operations, after):
            return {"event": "fixed", "after_s": round(after, 3), "changes": as_json(operations)}
        case Contested(operation, times, gap):
            entry = as_json([operation])[0]
            return {"event": "contested", **entry, "fixes": times, "retry_s": round(gap, 3)}
        case Blocked(words):
            return {"event": "in-the-way", "problem": words}
        case Failed(error, gap):
            return {"event": "failed", "problem": str(error), "hint": error.hint, "retry_s": round(gap, 3)}
