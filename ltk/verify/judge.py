"""What follows from what was seen: does the check hold, and if not, why. Pure."""

from __future__ import annotations

from ltk.topology.expected import Via
from ltk.verify.witness import Sighting, Way

_WORDS = {Way.DIRECT: "went directly", Way.RELAY: "went by the relay", Way.BOTH: "went both ways"}


def objection(wanted: Via, seen: Sighting, told: tuple[str, str], clients: tuple[str, str]) -> str | None:
    """Why what was seen between two clients is not what was wanted; None where it is.

    The network decides. What the clients have told of their paths has to agree with it: a status that
    lies is a failure too, unless the data is just going over from one way to the other.
    """
    if seen.way is Way.NONE:
        return str(seen.echoes)
    if wanted is not Via.ANY and seen.way.value != wanted.value:
        return f"the data {_WORDS[seen.way]}: {seen}"
    if seen.way is Way.BOTH:
        return None
    for client, path in zip(clients, told, strict=True):
        if path != seen.way.value:
            return f"the data {_WORDS[seen.way]}, but the status of {client} says {path}"
    return None
