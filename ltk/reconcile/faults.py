"""Faults put into a lab that is up, and taken away again: what `ltk fault` and `lab.faults` stand on."""

from __future__ import annotations

from ltk.errors import InvalidInputError
from ltk.kernel import messages, mounts, netns, paths
from ltk.kernel.netlink import Netlink
from ltk.lab import overlay
from ltk.lab.faults import gives_the_same_ports
from ltk.reconcile import fault_places
from ltk.reconcile.apply import converge_locked, locked
from ltk.reconcile.fault_places import listed
from ltk.reconcile.kept_faults import InForce, keep, kept, with_faults
from ltk.reconcile.remembered import last_applied
from ltk.reconcile.resources import scope_of
from ltk.reconcile.rollback import undone_on_failure
from ltk.supervise import client as supervisor
from ltk.topology.expanded import Topology
from ltk.topology.faults import (
    ChangeAddress,
    ChangeLink,
    Fault,
    FlushNat,
    Kill,
    Move,
    ReadOnlySecrets,
    RemoveTun,
    Stop,
)

__all__ = ["InForce", "clear", "inject", "listed"]


def inject(topology: Topology, fault: Fault) -> InForce | None:
    """Put `fault` into the lab that is up as `topology` (as it was applied); returns when it is in force.

    None for what is over in a moment. Raises InvalidInputError where the topology is not up or the fault
    cannot be, BusyError where another ltk is at work on it.
    """
    _require_up(topology)
    doing = "putting a fault into"
    with locked(topology.name, doing), undone_on_failure(topology.name, doing) as change:
        there = listed(topology)
        entry = InForce(fault_places.next_number(there), str(fault))
        now = with_faults(topology)
        match fault:
            case ChangeAddress() | Move() | ChangeLink():
                settled = overlay.settled(now, fault)
                overlay.applied(now, settled)  # refused now, or never
                entry = InForce(entry.number, str(settled))
                keep(topology.name, [*kept(topology.name), entry])
                converge_locked(topology, change)
                fault_places.settle(with_faults(topology), there)  # rules follow who has moved
            case Kill(node) | Stop(node):
                if node in fault_places.held(topology.name):
                    words = f"putting the fault {str(fault)!r} into {topology.name}"
                    hint = f"Clear it: ltk fault {topology.name} clear"
                    raise InvalidInputError(words, f"another fault holds the daemon of {node}", hint=hint)
                fault_places.hold(topology.name, fault, entry)
            case ReadOnlySecrets():
                if any(each.fault == entry.fault for each in there):
                    doing = f"putting the fault {str(fault)!r} into {topology.name}"
                    hint = f"Clear it: ltk fault {topology.name} clear"
                    raise InvalidInputError(doing, "it is in force already", hint=hint)
                keep(topology.name, [*kept(topology.name), entry])  # whoever is killed now has one to clear
                mounts.make_read_only(paths.state_folder(topology.name))
            case RemoveTun(node):
                with Netlink.open(scope_of(topology.name, node)) as netlink:
                    netlink.run([messages.delete_link(topology.node(node).device)])
                return None
            case FlushNat(site, new_ports):
                lasts = new_ports and now.lab is not None and gives_the_same_ports(now.lab, site)
                if lasts:
                    others = [each for each in there if each.fault != entry.fault]
                    fault_places.settle(now, [*others, entry])
                fault_places.flush_nat(scope_of(now.name, site))
                return entry if lasts else None
            case _:
                fault_places.settle(now, [*there, entry])
        return entry


def clear(topology: Topology, number: int | None = None) -> list[InForce]:
    """Undo one fault by its number, or all; returns those that were undone.

    Raises InvalidInputError where there is no fault of that number, and as `inject`.
    """
    _require_up(topology)
    doing = "clearing the faults of"
    with locked(topology.name, doing), undone_on_failure(topology.name, doing) as change:
        there = listed(topology)
        gone = [each for each in there if number in (None, each.number)]
        if number is not None and not gone:
            known = ", ".join(f"{each.number} ({each.fault})" for each in there) or "none"
            words = f"clearing fault {number} of {topology.name}"
            raise InvalidInputError(words, "there is no such fault", hint=f"In force are: {known}")
        held = {node: each for node, each in fault_places.held(topology.name).items() if each in gone}
        if any(each.fault == str(ReadOnlySecrets()) for each in gone):
            mounts.release(paths.state_folder(topology.name))
        changes = [each for each in kept(topology.name) if each in gone]
        if held:
            change.plan()
        keep(topology.name, [each for each in kept(topology.name) if each not in gone])
        for node in held:
            supervisor.release_node(topology.name, node)
        if held or changes:
            converge_locked(topology, change)  # those that were held hear only now what was wanted meanwhile
        fault_places.settle(with_faults(topology), [each for each in there if each not in gone])
    return gone


def applied(topology: Topology) -> Topology:
    """The topology of that name as it was applied last, which is what faults are put into.

    Raises InvalidInputError where it is not up.
    """
    _require_up(topology)
    if not paths.applied(topology.name).exists():  # deleted: then the file that is given says what is up
        return topology
    return last_applied(topology.name) or topology


def _require_up(topology: Topology) -> None:
    doing = f"putting a fault into {topology.name}"
    if topology.lab is None:
        hint = "Faults are for the network of a lab, which is ltk's own."
        raise InvalidInputError(doing, "it has no lab", hint=hint)
    if not netns.is_namespace(scope_of(topology.name, "internet")):
        raise InvalidInputError(doing, "it is not up", hint="Bring it up first: ltk apply FILE")
