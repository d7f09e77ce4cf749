"""`ltk shell`: a shell inside a node."""

from __future__ import annotations

import os

import click

from ltk.cli.common import node_argument, topology_argument
from ltk.cli.exec import run_inside


@click.command("shell", epilog="Example:  ltk shell quickstart alice")
@topology_argument
@node_argument("node")
def command(topology: str, node: str) -> None:
    """Open a shell inside NODE (or a site's router, or the internet); leave it with `exit`."""
    # Debian's and Ubuntu's default prompt shows this name in parentheses
    run_inside(topology, node, [os.environ.get("SHELL", "/bin/sh")], {"debian_chroot": node})
