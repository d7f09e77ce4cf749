"""`ltk doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

from dataclasses import asdict

import click

from ltk.cli.common import emit, output_option
from ltk.errors import MissingError


@click.command("doctor", epilog="Example:  ltk doctor")
@output_option
def command(output: str) -> int:
    """Try everything that ltk needs from this machine, in a namespace that goes with the trial.

    Exits with 6 where something is missing that ltk cannot do without.
    """
    from ltk.kernel.probe import findings

    found = findings()
    missing = [each for each in found if each.needed and not each.present]
    if output == "json":
        emit({"findings": [asdict(each) for each in found]})
    else:
        for each in found:
            word = "ok" if each.present else "MISSING" if each.needed else "absent"
            colour = {"ok": "green", "MISSING": "red", "absent": "yellow"}[word]
            line = f"{click.style(f'{word:8}', fg=colour)}{each.what:16}{each.detail}"
            click.echo(line if each.present else f"{line}\n{'':24}{each.remedy}")
    return MissingError.exit_status if missing else 0
