"""`ltk confirm`: keep a change that would be undone, or give it more time."""

from __future__ import annotations

import click

from ltk.cli.common import emit, name_of, output_option, say, topology_argument, yes_option
from ltk.cli.times import seconds_of


@click.command("confirm", epilog="Example:  ltk confirm quickstart")
@topology_argument
@click.option("--extend", metavar="TIME", help="Do not keep it yet: undo it so long from now, as 60s or 5m.")
@yes_option
@output_option
def command(topology: str, extend: str | None, output: str) -> None:
    """Keep what `ltk apply --confirm` has changed; without this it is undone when its time is over.

    Exits with 5 where it comes too late.
    """
    from ltk.reconcile import confirmation  # only now: what is refused is refused at once

    name = name_of(topology)
    seconds = None if extend is None else seconds_of(extend, "--extend", f"confirming the change of {name}")
    if seconds is None:
        confirmation.confirm(name)
    else:
        confirmation.extend(name, seconds)
    if output == "json":
        emit({"topology": name, "confirmed": seconds is None, "seconds_left": seconds})
    elif seconds is None:
        say(f"{name} stays as it is")
    else:
        say(f"{name} is undone in {seconds:g} s, unless that is confirmed: ltk confirm {name}")
