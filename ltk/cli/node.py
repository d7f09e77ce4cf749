"""`ltk node CONFIG`: one node's daemon in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command("node", epilog="Example:  ltk node /run/ltk/quickstart/alice.json")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--needs-device", is_flag=True, help="End where the device goes, to be started again.")
def command(config: Path, needs_device: bool) -> None:
    """Run the daemon of one node from its CONFIG until SIGTERM.

    This is what a service manager runs; it is told through NOTIFY_SOCKET when the node is ready. The
    device has to exist: `ltk apply` makes it, writes CONFIG and starts the daemon.
    """
    options = ["--needs-device"] if needs_device else []
    os.execv(sys.executable, [sys.executable, "-P", "-m", "ltk.node", str(config), *options])
