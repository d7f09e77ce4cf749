"""Where the verbs of an ordinary user stand: in namespaces of the user's own, or on the machine as it is."""

from __future__ import annotations

import atexit
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ltk.errors import LtkError, MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from ltk.topology.expanded import Topology


class Ground(Enum):
    """What a verb stands on."""

    MACHINE = auto()  # it needs neither labs nor privilege, or is about the machine itself
    PLACE = auto()  # the user's namespaces, made where there are none
    PLACE_IF_ANY = auto()  # the same where something is up, which it looks at; else the machine
    FILES_IF_ANY = auto()  # of the user's namespaces all but the network


GROUNDS = {
    "doctor": Ground.MACHINE,  # it goes in by itself, and has words where it may not
    "graph": Ground.PLACE_IF_ANY,
    "join": Ground.MACHINE,
    "keygen": Ground.MACHINE,
    "metrics": Ground.FILES_IF_ANY,  # it asks by sockets, and serves in the machine's network
    "node": Ground.MACHINE,
    "render": Ground.MACHINE,
    "schema": Ground.MACHINE,
    "serve": Ground.MACHINE,
    "validate": Ground.MACHINE,
}


def ground_of(verb: str, given: Mapping[str, Any]) -> Ground:
    """Where `verb` stands with these arguments.

    Raises MissingError for what is done to the machine itself, which only root can.
    """
    if verb == "apply" and given.get("hosts"):
        return Ground.MACHINE  # it is done elsewhere, by others
    if given.get("node") and verb == "apply":
        raise real_host(f"applying {given['topology']} to this machine")
    return GROUNDS.get(verb, Ground.PLACE)


def refuse_real_host(wanted: Topology) -> None:
    """Raise MissingError where an ordinary user applies a topology without a lab, which is the machine's."""
    from ltk.rootless import place

    if wanted.lab is None and place.is_here():
        raise real_host(f"applying {wanted.name}")


def real_host(doing: str) -> MissingError:
    """What an ordinary user is told who wants to change the machine itself."""
    hint = "Run it as root. Labs need none: ltk brings them up in namespaces of the user's own."
    return MissingError(doing, "a real host's network is changed by root alone", hint=hint)


def stand(context: click.Context) -> None:
    """Move this process to where the verb of `context` stands; what was entered is left with the context."""
    from ltk.rootless import place

    ground = ground_of(context.info_name or "", context.params)
    if ground is Ground.PLACE or (ground is not Ground.MACHINE and place.find()):
        entered = place.enter(network=ground is not Ground.FILES_IF_ANY)
        context.call_on_close(entered.leave)


def look_in() -> None:
    """Move this process to the user's files, where there are any: for words that a shell completes."""
    from ltk.rootless import place

    with contextlib.suppress(LtkError, OSError):  # then there is nothing to complete
        if place.find():
            atexit.register(place.enter(network=False).leave)
