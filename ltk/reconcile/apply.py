"""One run of the reconciler: lock, observe, plan, execute, verify."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ltk.errors import BusyError, InvalidInputError, LtkError
from ltk.kernel import mounts, netlink, nft, paths, probe, sysctl
from ltk.node.digest import Digester
from ltk.reconcile import fault_places, here, unconfirmed
from ltk.reconcile.adopt import adopt, adoptions, returns
from ltk.reconcile.desired import desired, desired_here
from ltk.reconcile.execute import execute, write_config
from ltk.reconcile.files import write_private
from ltk.reconcile.journal import Left, read
from ltk.reconcile.kept_faults import InForce, fold, kept
from ltk.reconcile.observe import Observation, marked_labs, marked_topologies, observe
from ltk.reconcile.plan import Operation, plan, restrict
from ltk.reconcile.remembered import last_applied, recall
from ltk.reconcile.resources import Daemon, Secret, State, scope_of
from ltk.reconcile.rollback import Change, clear_away, settle_configurations, undone_on_failure
from ltk.reconcile.secrets import NOTHING_KNOWN, keyring
from ltk.reconcile.unconfirmed import Awaiting
from ltk.supervise import client as supervisor
from ltk.topology.expanded import Lab, Topology
from ltk.topology.text import read_text

Listener = Callable[[Operation], None]
Agreed = Callable[[list[Operation], State], None]
"""Raises ChangedError where these operations, or what is there before them, are not what was agreed upon."""


@dataclass(frozen=True, slots=True)
class Writes:
    """What was sent to the kernel to change its state; all zero where nothing had to change."""

    netlink: int
    nft: int
    sysctl: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did; `notes` are what it found of earlier ones and what became of that."""

    operations: list[Operation]
    writes: Writes
    notes: tuple[str, ...] = ()


def preview(topology: Topology, only: tuple[str, ...] = (), *, adopting: bool = False) -> list[Operation]:
    """What `converge` would do now, with `adopting` beside what is in the way. Changes nothing.

    Takes no lock.
    """
    want = _wanted(topology, only)
    look = observed(topology.name, want)
    return _plan(want, replace(look, foreign={}) if adopting else look, topology.name, only)


def wanted(topology: Topology, known: State | None = None) -> State:
    """Everything that has to be there, with the faults that are in force. Makes keys that there are none of.

    Those that stand in `known`, as it was wanted before, are not made again: their files have gone, and
    the others know them. Raises InvalidInputError for a secret that cannot be had.
    """
    secrets = {each.path: each for each in (known or {}).values() if isinstance(each, Secret)}
    return _wanted(topology, known=secrets)


def observed(topology: str, want: State, *, adopting: bool = False) -> Observation:
    """What there is now, of `want` and beside it."""
    return observe(topology, want.values(), held=fault_places.held(topology), adopting=adopting)


def foresee(topology: Topology) -> tuple[list[Operation], State]:
    """What `converge` would do now with all faults that the file states, and what is there before it."""
    want = _wanted(topology, faults=fault_places.to_keep(topology))
    look = observed(topology.name, want)
    return _plan(want, look, topology.name, ()), look.have


def converge(
    topology: Topology,
    listener: Listener,
    only: tuple[str, ...] = (),
    *,
    adopting: bool = False,
    agreed: Agreed | None = None,
    undo: bool = True,
    awaiting: Awaiting | None = None,
    at_end: Callable[[], None] = lambda: None,
    start: bool = True,
) -> Outcome:
    """Make the machine be as `topology` says; with `only`, in the places of these nodes alone.

    With `adopting`, what somebody else made and is in the way is taken over (see `ltk.reconcile.adopt`).
    Whatever can be refused is refused before the first change, and so is what was not `agreed` upon. Raises
    RolledBackError where an operation fails or where the result, looked at again, is not as wanted, and all
    is as it was before; LtkError where that could not be, or with `undo=False`, by which what was done stays.
    With `awaiting` what was changed is undone later, unless it is confirmed. `at_end` is called when all is
    done and before anybody else can change it. Without `start`, for real hosts, the daemon is left to
    whoever is about to start it.
    """
    _refuse_place(topology)
    faults = topology.lab.faults if topology.lab is not None else ()
    repair = (bool(only) or not start) and awaiting is None
    if topology.here is not None:
        only = ()  # it is alone
    in_whole = topology.lab is not None and not only
    probe.require()
    guard = awaiting.guard if awaiting else lambda: None
    with locked(topology.name, "applying"):
        notes = _earlier_runs(topology, repair=repair)
        before = _written()
        with undone_on_failure(topology.name, "applying", undo=undo, before_the_first=guard) as change:
            if in_whole:
                if faults:
                    _wanted(topology)  # what is refused has no faults either
                fault_places.keep_stated(topology)
            adopted = _adopt(topology, change, listener, only) if adopting else []
            operations = adopted + converge_locked(
                topology, change, listener, only, agreed, start=start, awaiting=awaiting
            )
            if notes:
                settle_configurations(topology.name, observed(topology.name, {}).have)
            if in_whole:
                if faults and not operations:
                    change.plan()
                fault_places.put_stated(topology)
            if operations and awaiting:
                change.await_confirmation(awaiting.seconds, auto=awaiting.auto)
                unconfirmed.wake(topology.name)
        at_end()
        after = _written()
    spent = Writes(after.netlink - before.netlink, after.nft - before.nft, after.sysctl - before.sysctl)
    return Outcome(operations, spent, notes)


def converge_locked(
    topology: Topology,
    change: Change,
    listener: Listener = lambda _: None,
    only: tuple[str, ...] = (),
    agreed: Agreed | None = None,
    *,
    start: bool = True,
    awaiting: Awaiting | None = None,
) -> list[Operation]:
    """The same for whoever has the lock, and with the faults that are in force already."""
    want = _wanted(topology, only)
    look = observed(topology.name, want)
    operations = _plan(want, look, topology.name, only, start)
    if agreed is not None:
        agreed(operations, look.have)
    if operations:
        change.plan(operations, _part(look.have, topology.name, only), want)
    _remember(topology)
    if operations:
        execute(topology.name, operations, listener, change.begin)
        _verify(topology.name, want, only, start)
    elif not only:
        paths.journal(topology.name).unlink(missing_ok=True)  # nothing is left of what a killed run began
    if topology.here is not None and not _may_be_undone(topology.name, bool(awaiting and operations)):
        here.keep(topology.name, topology.here, paths.applied(topology.name).read_text())
    if not start:
        for each in want.values():
            if isinstance(each, Daemon):
                write_config(topology.name, each, Digester())
    return operations


def _may_be_undone(topology: str, awaiting: bool) -> bool:
    """Whether a boot is to bring back what was before, since nobody has confirmed what is there now.

    What came first is kept anyway: a machine that is a node has to know which.
    """
    unsure = awaiting or unconfirmed.waiting(topology) is not None
    return unsure and here.node_of(topology) is not None


def what_goes(topology: str) -> list[Operation]:
    """What `remove` would do now. Changes nothing and takes no lock."""
    return plan({}, observe(topology).have, unwanted="the topology is destroyed")


def remove(topology: str, listener: Listener) -> list[Operation]:
    """Remove all that bears the mark of `topology`: processes, namespaces, keys, files."""
    supervisor.rest(topology)  # a repair would hold the lock, for something that is to go
    with locked(topology, "destroying"):
        unconfirmed.forget(topology)
        return clear_away(topology, listener, "the topology is destroyed")


def interrupted(topology: str) -> Left | None:
    """The journal of a run that was killed or interrupted, and that none has gone on from; else None."""
    left = read(paths.journal(topology))
    at_work = left is not None and left.process is not None and Path(f"/proc/{left.process}").exists()
    return None if at_work else left


def crashed() -> list[str]:
    """Topologies of which something is left and nobody takes care: no supervisor, no ltk at work.

    A lab of hosts alone needs no supervisor: where it is as it was applied, nothing has crashed. What this
    machine is a node of, it stays until that is destroyed: at any time its daemon may be about to be started.
    """
    entries = paths.RUN.iterdir() if paths.RUN.is_dir() else ()
    folders = {entry.name for entry in entries if entry.is_dir()}
    folders |= {place.name for place in mounts.places() if place.parent == paths.STATE}
    return sorted(
        name
        for name in (folders | marked_topologies()) - here.topologies_here()
        if not supervisor.is_running(name) and not is_locked(name) and not _is_as_applied(name)
    )


def _is_as_applied(topology: str) -> bool:
    wanted_last = last_applied(topology)
    try:
        return wanted_last is not None and preview(wanted_last) == []
    except LtkError:
        return False


def exists(topology: str) -> bool:
    """Whether anything of `topology` is there."""
    folders = (paths.run_folder(topology), paths.state_folder(topology))
    return any(folder.exists() for folder in folders) or topology in marked_topologies()


@contextlib.contextmanager
def locked(topology: str, doing: str, *, wait: bool = False) -> Iterator[None]:
    """Be the only ltk at work on `topology`; raises BusyError that says who is, or waits for its end."""
    descriptor = None
    try:
        while descriptor is None:
            descriptor = _try_lock(topology, doing, wait=wait)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        if descriptor is not None:
            _clear_if_unused(topology)
            os.close(descriptor)


def _clear_if_unused(topology: str) -> None:
    """Remove a run-time folder that has come to hold nothing but the lock, which is ours."""
    folder = paths.run_folder(topology)
    with contextlib.suppress(OSError):  # it has gone already, or another topology has a folder beside it
        if [entry.name for entry in folder.iterdir()] == ["lock"]:
            shutil.rmtree(folder)
            folder.parent.rmdir()


def _try_lock(topology: str, doing: str, *, wait: bool) -> int | None:
    """The locked file; None where its holder removed it with its folder before we had it."""
    paths.make_private_folder(paths.run_folder(topology))
    path = paths.run_folder(topology) / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        same = path.stat().st_ino == os.fstat(descriptor).st_ino
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip() or "another process"
        os.close(descriptor)
        hint = "Wait for it to end, then run this again."
        raise BusyError(f"{doing} {topology}", f"process {holder} is at work on it", hint=hint) from None
    except FileNotFoundError:
        same = False
    if not same:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(topology: str) -> bool:
    """Whether an ltk is at work on `topology` at this moment."""
    try:
        descriptor = os.open(paths.run_folder(topology) / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _earlier_runs(topology: Topology, *, repair: bool) -> tuple[str, ...]:
    """Deal with what earlier runs have left, with the lock held; returns what is to be told about it.

    While a change awaits its confirmation, what is up may be repaired (`repair`), and nothing else changed.
    """
    notes = []
    if (left := read(paths.journal(topology.name))) is not None:
        notes.append(f"{left}; this run goes on from there")
    if note := unconfirmed.take_back_what_is_too_late(topology.name):
        notes.append(note)
    if not (repair and topology == last_applied(topology.name)):
        unconfirmed.refuse_while_waiting(topology.name, "applying")
    return tuple(notes)


def _lab(topology: Topology) -> Lab:
    if topology.lab is None:
        raise InvalidInputError(
            f"applying {topology.name}",
            "it has no lab, and this machine is none of its nodes",
            hint="Say which one it is: ltk apply FILE --node NAME. Or describe a lab, see docs/topology.md.",
        )
    return topology.lab


def _refuse_place(topology: Topology) -> None:
    """A topology is on a machine as a lab or as one of its nodes, and as no other one."""
    doing = f"applying {topology.name}"
    if topology.here is None:
        if (node := here.node_of(topology.name)) is not None:
            hint = f"ltk apply FILE --node {node}. Or first: ltk destroy {topology.name}"
            raise InvalidInputError(doing, f"this machine is {node} of it", hint=hint)
        _lab(topology)
        return
    here.refuse_two(topology.name, topology.here)
    if topology.name in marked_labs():
        hint = f"Remove it first: ltk destroy {topology.name}"
        raise InvalidInputError(doing, "its lab is up on this machine", hint=hint)


def _wanted(
    topology: Topology,
    only: tuple[str, ...] = (),
    faults: Sequence[InForce] | None = None,
    known: Mapping[str, Secret] = NOTHING_KNOWN,
) -> State:
    """What is wanted with `faults`; None: with those that are kept."""
    if topology.here is not None:
        return desired_here(topology, keyring(topology, known))
    _lab(topology)  # asked before anything else
    now = fold(topology, kept(topology.name) if faults is None else faults)[0]
    want = desired(now, _lab(now), keyring(now, known))
    return restrict(want, _scopes(topology.name, only)) if only else want


def _adopt(topology: Topology, change: Change, listener: Listener, only: tuple[str, ...]) -> list[Operation]:
    want = _wanted(topology, only)
    operations = adoptions(want, observed(topology.name, want, adopting=True))
    if returned := returns(topology.name, operations):
        change.return_in_the_end(returned)
    adopt(topology.name, operations)
    for operation in operations:
        listener(operation)
    return operations


def _plan(
    want: State, look: Observation, topology: str, only: tuple[str, ...], start: bool = True
) -> list[Operation]:
    operations = plan(want, _part(look.have, topology, only), look.foreign)
    return [each for each in operations if start or not isinstance(each.resource, Daemon)]


def _part(have: State, topology: str, only: tuple[str, ...]) -> State:
    return restrict(have, _scopes(topology, only)) if only else have


def _scopes(topology: str, only: tuple[str, ...]) -> list[str]:
    return [scope_of(topology, place) for place in only]


def _verify(topology: str, want: State, only: tuple[str, ...], start: bool) -> None:
    left = _plan(want, observed(topology, want), topology, only, start)
    if left:
        words = "; ".join(f"{operation} ({operation.reason})" for operation in left[:5])
        hint = "Something else changes it, or the kernel does not do what it was asked; see: ltk doctor"
        raise LtkError(f"verifying {topology}", f"still to do: {words}", hint=hint)


def _remember(topology: Topology) -> None:
    """Keep what is wanted, so that the topology's name is enough from now on."""
    path = paths.applied(topology.name)
    if path.exists() and recall(read_text(str(path))) == topology:
        return
    from ltk.topology.render import render  # only now: mostly there is nothing new to write

    write_private(path, render(topology))


def _written() -> Writes:
    return Writes(netlink.writes, nft.writes, sysctl.writes)
