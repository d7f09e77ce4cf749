"""Faults that no rule and no process can hold, kept beside a topology that is up, and the topology with them.

They change what is wanted, but for one (`ReadOnlySecrets`). What the user wrote stays as it is: `ltk apply`
and whatever looks for differences see the network as these faults have it, so that they are no drift.
Everything else about a fault is read where it is in force.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ltk.errors import InvalidInputError
from ltk.kernel import paths
from ltk.reconcile.files import write_private
from ltk.topology.expanded import Topology


@dataclass(frozen=True, slots=True, order=True)
class InForce:
    """A fault that lasts, by the words that say it."""

    number: int  # by which it is cleared; the newest has the highest
    fault: str
    stated: bool = False  # by the topology, in `lab.faults`

    def to_json(self) -> dict[str, Any]:
        """The entry of the documented JSON."""
        return asdict(self)


def kept(topology: str) -> list[InForce]:
    """What is kept; nothing where nothing can be read."""
    try:
        entries = json.loads(paths.kept_faults(topology).read_text())["faults"]
        return [InForce(int(e["number"]), str(e["fault"]), bool(e["stated"])) for e in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def keep(topology: str, faults: Sequence[InForce]) -> None:
    """Keep these and no others."""
    path = paths.kept_faults(topology)
    if not faults:
        path.unlink(missing_ok=True)
    elif kept(topology) != list(faults):
        write_private(path, json.dumps({"faults": [each.to_json() for each in faults]}) + "\n")


def with_faults(topology: Topology) -> Topology:
    """The topology with all kept faults in it; one that cannot be any more, as without its site, is not."""
    return fold(topology, kept(topology.name))[0] if topology.lab is not None else topology


def fold(topology: Topology, faults: Sequence[InForce]) -> tuple[Topology, list[InForce]]:
    """The topology with `faults` put on it one after the other, and those of them that could be."""
    if not faults:
        return topology, []
    from ltk.lab import overlay  # only now: mostly there are none, and the words of faults take their time
    from ltk.topology.faults import ChangeAddress, ChangeLink, Move, ReadOnlySecrets, parse

    possible = []
    for each in faults:
        try:
            fault = parse(each.fault, topology)
            if isinstance(fault, ChangeAddress | ChangeLink | Move):
                topology = overlay.applied(topology, fault)
            elif not isinstance(fault, ReadOnlySecrets):
                continue
            possible.append(each)
        except InvalidInputError:
            continue
    return topology, possible
