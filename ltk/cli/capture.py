"""`ltk capture`: packets of a lab, as lines or into a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import click

from ltk.cli.common import load, node_argument, say, topology_argument, unwritable
from ltk.cli.exec import scope_of_place
from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from ltk.capture.record import Tap
    from ltk.topology.expanded import Topology

LOOPBACK = "lo"


@click.command("capture", epilog="Example:  ltk capture quickstart alice:ltk0 internet --filter icmp")
@topology_argument
@node_argument("places", metavar="NODE[:DEVICE]...", nargs=-1, required=True)
@click.option("-w", "--write", metavar="FILE", help="Write a capture file (pcapng); - is standard output.")
@click.option("--live", is_flag=True, help="Print lines although a file is written.")
@click.option(
    "--filter",
    "filter_",
    metavar="TEXT",
    envvar="LTK_FILTER",
    show_envvar=True,
    help="Such as: udp and not port 53.",
)
@click.option("--decrypt", is_flag=True, help="Show what is inside of the tunnel's messages as well.")
@click.option("--count", type=click.IntRange(1), help="End after so many packets.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds.")
def command(
    topology: str,
    places: tuple[str, ...],
    write: str | None,
    live: bool,
    filter_: str | None,
    decrypt: bool,
    count: int | None,
    seconds: float | None,
) -> None:
    """Show what passes devices of nodes, of sites' routers and of the internet, until Ctrl-C.

    NODE alone means all of its devices, and of a site's router its two sides, wan and lan. All packets have
    the kernel's time, and are shown in its order.

    With --decrypt, data messages are opened with the session keys of the nodes that stand at these places,
    which their daemons tell to root alone.
    """
    from ltk.capture.expression import parse
    from ltk.capture.record import Stop, follow
    from ltk.capture.recording import Recording
    from ltk.cli.decrypt import rings

    if live and write == "-":
        raise InvalidInputError("capturing", "--live and --write - would both go to standard output")
    wanted = parse(filter_) if filter_ else None
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(Stop())
        network = load(topology)
        taps = _taps(stack, network, topology, places)
        opened = rings(network, [tap.node for tap in taps]) if decrypt else None
        file = stack.enter_context(_open(write)) if write else None
        lines = print_lines if live or write is None else None
        recording = Recording(taps, wanted, file, lines, count, opened)
        say(f"capturing at {', '.join(tap.name for tap in taps)}; Ctrl-C ends it")
        try:
            for batch in follow(taps, stop, seconds):
                if not recording.take(batch):
                    break
        finally:
            for sentence in recording.end().sentences():
                say(sentence)


def print_lines(text: str) -> None:
    """Print whole lines on standard output, at once."""
    click.echo(text, nl=False)


def _taps(stack: contextlib.ExitStack, wanted: Topology, topology: str, places: Sequence[str]) -> list[Tap]:
    """A tap for each device that `places` name, each once; InvalidInputError for what is not there."""
    from ltk.capture.record import Tap

    named: dict[tuple[str, str], str] = {}
    for place in places:
        node, colon, device = place.partition(":")
        scope = scope_of_place(wanted, topology, node)
        for each in [device] if colon else _devices(wanted, node, scope):
            named[node, each] = scope
    taps = []
    for (node, device), scope in named.items():
        taps.append(Tap(scope, node, device))
        stack.callback(taps[-1].close)
    return taps


def _devices(wanted: Topology, node: str, scope: str) -> list[str]:
    """What a node alone stands for: of a router its sides, since all that passes one of its ports passes one
    of them, of this very machine what is ltk's, of everybody else all but the loopback device."""
    from ltk.kernel.packets import devices
    from ltk.lab.names import LAN, WAN

    if wanted.here is not None:
        return [wanted.node(wanted.here).device]
    there = [each for each in devices(scope) if each != LOOPBACK]
    if wanted.lab is not None and any(site.name == node for site in wanted.lab.sites):
        return [each for each in there if each in (WAN, LAN)]
    return there


@contextlib.contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    """The file to write, for its owner alone: what passes inside of a tunnel is in clear there."""
    if path == "-":
        yield sys.stdout.buffer
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(path, error) from None
    with os.fdopen(descriptor, "wb") as file:
        yield file
