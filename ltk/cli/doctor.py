"""`ltk doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from ltk.cli.common import emit, output_option
from ltk.errors import MissingError


@click.command("doctor", epilog="Example:  ltk doctor")
@output_option
@click.pass_context
def command(context: click.Context, output: str) -> int:
    """Try everything that ltk needs from this machine, in a namespace that goes with the trial.

    Of an ordinary user, in the namespaces that the user's labs have. Exits with 6 where something is missing
    that ltk cannot do without.
    """
    from ltk.kernel import probe, sysctl

    room = sysctl.read(probe.NEIGHBOURS)  # to be seen in the machine's own namespace only
    found = probe.findings(_become_root(context), room)
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


def _become_root(context: click.Context) -> MissingError | None:
    """Go to where an ordinary user is root; returns why that cannot be."""
    if os.geteuid() == 0:
        return None
    from ltk.rootless import place

    try:
        context.call_on_close(place.enter().leave)
    except MissingError as error:
        return error
    return None
