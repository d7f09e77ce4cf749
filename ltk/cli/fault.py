"""`ltk fault`: break a lab that is up, on purpose, and mend it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ltk.cli.common import emit, load, output_option, say, topology_argument
from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ltk.reconcile.kept_faults import InForce
    from ltk.topology.expanded import Topology

CLEAR = "clear"


def _complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from ltk.topology.faults import USAGE

    given = ctx.params.get("words") or ()
    if not given:
        return [CompletionItem(verb) for verb in (*USAGE, CLEAR) if verb.startswith(incomplete)]
    topology = load(str(ctx.params["topology"]))
    places = [node.name for node in topology.nodes]
    places += [site.name for site in topology.lab.sites] if topology.lab else []
    return [CompletionItem(place) for place in places if place.startswith(incomplete)]


@click.command(
    "fault",
    context_settings={"ignore_unknown_options": True},
    epilog="Example:  ltk fault quickstart block alice bob",
)
@topology_argument
@click.argument("words", metavar="[FAULT]", nargs=-1, type=click.UNPROCESSED, shell_complete=_complete)
@output_option
def command(topology: str, words: tuple[str, ...], output: str) -> None:
    """Put a fault into a lab that is up. Without FAULT, list those in force. A place is a node or a site.

    \b
    block A [B] [--one-way] [--udp]   nothing passes between A and B, or A and all
    drop A B --class CLASS [--nth N]  messages from A to B: handshake, initiation,
                                      response, cookie, data, control, relayed,
                                      stun or udp; all of them, or the Nth (or 1-5)
    flush-nat SITE [--new-ports]      the router forgets every mapping
    address PLACE [ADDRESS]           a host or a router gets another address
    move NODE SITE [ADDRESS]          a node stands in another site
    link PLACE KEY=VALUE…             rate, delay, jitter, loss, reorder, duplicate
    kill NODE / stop NODE             the daemon is killed, or stands still
    tun NODE                          the TUN device is deleted
    secrets read-only                 the disk of the lab's keys takes no writes
    clear [N]                         undo fault N, or all

    All but tun, and flush-nat without new ports, last until they are cleared, through every apply.
    """
    from ltk.reconcile.faults import applied, clear, inject, listed

    known = load(topology)
    if known.lab is None:
        hint = "Try the topology in a lab, see docs/topology.md."
        raise InvalidInputError(f"breaking {known.name}", "it has no lab on this machine", hint=hint)
    wanted = applied(known)
    if not words:
        _tell(wanted, listed(wanted), output)
        return
    if words[0] == CLEAR:
        gone = clear(wanted, _number(words[1:]))
        for entry in gone:
            say(f"cleared {entry.number}: {entry.fault}")
        if not gone:
            say(f"{wanted.name} has no faults")
        if output == "json":
            _tell(wanted, listed(wanted), output)
        return
    from ltk.topology.faults import parse

    fault = parse(words, wanted)
    new = inject(wanted, fault)
    if output == "json":
        _tell(wanted, listed(wanted), output)
    elif new is None:
        say(f"done: {fault}")
    else:
        say(f"in force as {new.number}: {new.fault}")
        say(f"  undo:  ltk fault {wanted.name} clear {new.number}")


def _number(words: Sequence[str]) -> int | None:
    """The fault that is meant; None for all."""
    match words:
        case []:
            return None
        case [word] if word.isascii() and word.isdigit():
            return int(word)
    hint = "It is: clear, or clear N with the number of one fault. ltk fault TOPOLOGY lists them."
    raise InvalidInputError("clearing faults", f"{' '.join(words)!r} is no number", hint=hint)


def _tell(topology: Topology, faults: Sequence[InForce], output: str) -> None:
    if output == "json":
        emit({"topology": topology.name, "faults": [each.to_json() for each in faults]})
        return
    for each in faults:
        click.echo(f"{each.number}: {each.fault}{' (stated in the file)' if each.stated else ''}")
    if not faults:
        say(f"{topology.name} has no faults")
