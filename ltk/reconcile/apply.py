"""One run of the reconciler: lock, observe, plan, execute, verify."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ltk.errors import BusyError, ChangedError, InvalidInputError, LtkError
from ltk.kernel import netlink, netns, nft, paths, probe, sysctl
from ltk.reconcile import fault_places
from ltk.reconcile.desired import desired
from ltk.reconcile.execute import execute
from ltk.reconcile.files import write_private
from ltk.reconcile.kept_faults import InForce, fold, keep, kept
from ltk.reconcile.observe import Observation, marked_topologies, observe
from ltk.reconcile.plan import Operation, plan, restrict
from ltk.reconcile.remembered import recall
from ltk.reconcile.resources import State, scope_of
from ltk.reconcile.secrets import keyring
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
    """What a run did."""

    operations: list[Operation]
    writes: Writes


def preview(topology: Topology, only: tuple[str, ...] = ()) -> list[Operation]:
    """What `converge` would do now. Changes nothing and takes no lock."""
    want = _wanted(topology, only)
    return _plan(want, _observed(topology.name, want), topology.name, only)


def foresee(topology: Topology) -> tuple[list[Operation], State]:
    """What `converge` would do now with all faults that the file states, and what is there before it."""
    want = _wanted(topology, faults=fault_places.to_keep(topology))
    look = _observed(topology.name, want)
    return _plan(want, look, topology.name, ()), look.have


def converge(
    topology: Topology, listener: Listener, only: tuple[str, ...] = (), agreed: Agreed | None = None
) -> Outcome:
    """Make the machine be as `topology` says; with `only`, in the places of these nodes alone.

    Raises LtkError where an operation fails or where the result, looked at again, is not as wanted.
    Whatever can be refused is refused before the first change, and so is what was not `agreed` upon.
    """
    lab = _lab(topology)
    probe.require()
    with locked(topology.name, "applying"):
        before, faults = _written(), kept(topology.name)
        if not only:
            if lab.faults:
                _wanted(topology)  # what is refused has no faults either
            fault_places.keep_stated(topology)
        try:
            operations = converge_locked(topology, listener, only, agreed)
        except ChangedError:
            keep(topology.name, faults)
            raise
        if not only:
            fault_places.put_stated(topology)
        after = _written()
    spent = Writes(after.netlink - before.netlink, after.nft - before.nft, after.sysctl - before.sysctl)
    return Outcome(operations, spent)


def converge_locked(
    topology: Topology,
    listener: Listener = lambda _: None,
    only: tuple[str, ...] = (),
    agreed: Agreed | None = None,
) -> list[Operation]:
    """The same for whoever has the lock, and with the faults that are in force already."""
    want = _wanted(topology, only)
    look = _observed(topology.name, want)
    operations = _plan(want, look, topology.name, only)
    if agreed is not None:
        agreed(operations, look.have)
    _remember(topology)
    if operations:
        execute(topology.name, operations, listener)
        _verify(topology.name, want, only)
    return operations


def remove(topology: str, listener: Listener) -> list[Operation]:
    """Remove all that bears the mark of `topology`: processes, namespaces, keys, files."""
    supervisor.rest(topology)  # a repair would hold the lock, for something that is to go
    with locked(topology, "destroying"):
        operations = plan({}, observe(topology).have, unwanted="the topology is destroyed")
        supervisor.shutdown(topology)
        execute(topology, operations, listener)
        for name in netns.debris(scope_of(topology, "")):
            netns.remove(name)
        left = plan({}, observe(topology).have)
        if left:
            raise LtkError(f"destroying {topology}", f"{left[0].resource} is still there")
        for folder in (paths.state_folder(topology), paths.run_folder(topology)):
            shutil.rmtree(folder, ignore_errors=True)
    for parent in (paths.STATE, paths.RUN):
        with contextlib.suppress(OSError):  # another topology has its folder there
            parent.rmdir()
    return operations


def crashed() -> list[str]:
    """Topologies of which something is left and nobody takes care: no supervisor, no ltk at work."""
    folders = {folder.name for folder in paths.RUN.iterdir()} if paths.RUN.is_dir() else set()
    return sorted(
        name
        for name in folders | marked_topologies()
        if not supervisor.is_running(name) and not _is_locked(name)
    )


def exists(topology: str) -> bool:
    """Whether anything of `topology` is there."""
    folders = (paths.run_folder(topology), paths.state_folder(topology))
    return any(folder.exists() for folder in folders) or topology in marked_topologies()


@contextlib.contextmanager
def locked(topology: str, doing: str) -> Iterator[None]:
    """Be the only ltk at work on `topology`; raises BusyError that says who is."""
    descriptor = None
    try:
        while descriptor is None:
            descriptor = _try_lock(topology, doing)
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


def _try_lock(topology: str, doing: str) -> int | None:
    """The locked file; None where its holder removed it with its folder before we had it."""
    paths.make_private_folder(paths.run_folder(topology))
    path = paths.run_folder(topology) / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def _is_locked(topology: str) -> bool:
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


def _lab(topology: Topology) -> Lab:
    if topology.lab is None:
        raise InvalidInputError(
            f"applying {topology.name}",
            "it has no lab, and this version of ltk brings up labs only",
            hint="Describe the network under the nodes with the key `lab`, see docs/topology.md.",
        )
    return topology.lab


def _wanted(topology: Topology, only: tuple[str, ...] = (), faults: Sequence[InForce] | None = None) -> State:
    """What is wanted with `faults`; None: with those that are kept."""
    _lab(topology)  # asked before anything else
    now = fold(topology, kept(topology.name) if faults is None else faults)[0]
    want = desired(now, _lab(now), keyring(now))
    return restrict(want, _scopes(topology.name, only)) if only else want


def _observed(topology: str, want: State) -> Observation:
    return observe(topology, want.values(), held=fault_places.held(topology))


def _plan(want: State, look: Observation, topology: str, only: tuple[str, ...]) -> list[Operation]:
    have = restrict(look.have, _scopes(topology, only)) if only else look.have
    return plan(want, have, look.foreign)


def _scopes(topology: str, only: tuple[str, ...]) -> list[str]:
    return [scope_of(topology, place) for place in only]


def _verify(topology: str, want: State, only: tuple[str, ...]) -> None:
    left = _plan(want, _observed(topology, want), topology, only)
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
