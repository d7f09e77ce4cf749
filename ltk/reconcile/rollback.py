"""Taking back what a run has done, when it fails, or when nobody confirms it.

Going back is a plan too: from what is there now to what was there before, carried out like any other and
verified. What was there stands in the journal from before the first change on (`ltk.reconcile.undo`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence

from ltk.errors import InvalidInputError, LtkError, RolledBackError
from ltk.kernel import mounts, netns, paths
from ltk.kernel.messages import Request
from ltk.kernel.netlink import Netlink
from ltk.reconcile import fault_places, here
from ltk.reconcile.execute import execute
from ltk.reconcile.files import in_words, write_private
from ltk.reconcile.journal import Journal, note, now
from ltk.reconcile.kept_faults import InForce, kept, with_faults
from ltk.reconcile.observe import Observation, observe
from ltk.reconcile.plan import Operation, plan
from ltk.reconcile.remembered import last_applied
from ltk.reconcile.resources import Daemon, State, scope_of
from ltk.reconcile.undo import KEPT, Files, Undo, aim, places, touched_by, wanted_files, whole
from ltk.supervise import client as supervisor
from ltk.supervise import systemd

Listener = Callable[[Operation], None]
UNDONE = "it was not there before"  # the reason of a removal


class Change:
    """What one run changes, from its beginning to its end; `undone_on_failure` makes them."""

    def __init__(self, topology: str, doing: str, before_the_first: Callable[[], None]) -> None:
        self._topology = topology
        self._doing = doing
        self._before_the_first = before_the_first
        self._files = wanted_files(topology)
        self._supervised = supervisor.is_running(topology)
        self._journal: Journal | None = None
        self._returns: tuple[Request, ...] = ()
        self.undo: Undo | None = None

    def plan(
        self, operations: Sequence[Operation] = (), have: State | None = None, want: State | None = None
    ) -> None:
        """Write down what `operations`, which lead from `have` to `want`, touch; they may begin now.

        Without any, it is the faults alone that will be changed; that may be said before the rest is.
        """
        begins = self.undo is None
        there = have or {}
        touched = touched_by(operations, there, want or {})
        self.undo = Undo(
            touched=touched,
            was=whole([there[key] for key in sorted(touched) if key in there]),
            files=self._files,
            faults=self._faults() if self.undo is None else self.undo.faults,
            supervised=self._supervised,
            nothing=self._nothing() if self.undo is None else self.undo.nothing,
            returns=self._returns,
        )
        if begins:
            self._before_the_first()
        self._journal = Journal(paths.journal(self._topology), self._doing, self.undo)

    def return_in_the_end(self, requests: tuple[Request, ...]) -> None:
        """What is about to be taken over is given back by these, when all else that was done is undone."""
        self._returns = requests
        self.plan()

    def await_confirmation(self, seconds: float, *, auto: bool) -> None:
        """Keep the journal of what is done now, for whoever undoes it if nobody confirms it in time."""
        path = paths.journal(self._topology)
        note(path, {"until": now() + seconds, "auto": auto})
        path.replace(paths.unconfirmed(self._topology))

    def begin(self, phase: Sequence[Operation]) -> None:
        """Write down that these are about to be carried out."""
        if self._journal is not None:
            self._journal.begin(tuple(map(str, phase)))

    def end(self) -> None:
        """Take the journal away: all is done. That of another run, with which this has not gone on, stays."""
        if self._journal is not None:
            paths.journal(self._topology).unlink(missing_ok=True)

    def take_back(self, error: LtkError | OSError) -> None:
        """Undo all that was done; raises what is to be told, if anything was done at all."""
        doing = f"{self._doing} {self._topology}"
        error = in_words(error) if isinstance(error, OSError) else error
        if self._journal is None or self.undo is None:
            _write(self._topology, self._files)
            return
        with contextlib.suppress(LtkError):  # where the disk is full, that may be what has failed
            self._journal.undoing(str(error))
        try:
            roll_back(self._topology, self.undo)
        except (LtkError, OSError) as worse:
            problem = f"{error}; not all of what had been done could be undone: {worse}"
            after = f"What it lacks: ltk plan {self._topology}. Apply it, or: ltk destroy {self._topology}"
            raise LtkError(doing, problem, hint=after) from error
        paths.journal(self._topology).unlink(missing_ok=True)
        raise RolledBackError(doing, f"{error}; all is as it was before", hint=error.hint) from error

    def _faults(self) -> tuple[InForce, ...]:
        applied = last_applied(self._topology)
        if applied is None or applied.lab is None:
            return ()
        stored = kept(self._topology)
        return tuple(each for each in fault_places.listed(applied) if each not in stored)

    def _nothing(self) -> bool:
        """Whether nothing of the topology is there, but the lock and what this run has put beside it."""
        told = self._supervised or any(text is not None for text in self._files.values())
        return not told and not observe(self._topology).have


@contextlib.contextmanager
def undone_on_failure(
    topology: str,
    doing: str,
    *,
    undo: bool = True,
    before_the_first: Callable[[], None] = lambda: None,
) -> Iterator[Change]:
    """A run that changes things, for whoever has the lock: what it did is undone when it fails.

    `before_the_first` is called when the journal is about to be written. Raises RolledBackError where that
    has succeeded, and LtkError where something could not be undone; with `undo=False` all stays as the
    failure left it. An interrupted run is not undone: the next one finishes it.
    """
    change = Change(topology, doing, before_the_first)
    try:
        yield change
    except (LtkError, OSError) as error:
        if undo:
            change.take_back(error)
        raise
    change.end()


def roll_back(topology: str, undo: Undo, listener: Listener = lambda _: None) -> None:
    """Make all that was touched be as it was, for whoever has the lock; raises LtkError where it is not."""
    if undo.nothing and not undo.returns:
        clear_away(topology, listener)
        return
    _write(topology, {name: text for name, text in undo.files.items() if not name.startswith(KEPT)})
    look = _observed(topology, undo)
    operations = plan(aim(undo, look.have), look.have, look.foreign, UNDONE)
    if operations:
        execute(topology, operations, listener)
    _restore_faults(topology, undo)
    if not undo.supervised:
        _end_unneeded(topology)
    look = _observed(topology, undo)
    settle_configurations(topology, look.have)
    left = plan(aim(undo, look.have), look.have)
    if left:
        words = "; ".join(f"{operation} ({operation.reason})" for operation in left[:5])
        raise LtkError(f"undoing the changes of {topology}", f"still to do: {words}")
    if undo.returns:
        with Netlink.open() as netlink:
            netlink.run(undo.returns)
    if undo.nothing:
        clear_away(topology, listener)
        return
    _write(topology, undo.files)  # which node this machine is, it is until then


def settle_configurations(topology: str, have: State) -> None:
    """Have each daemon's file, from which it is started again, say what it runs with.

    They differ where a daemon has refused a configuration, or a run was killed before it heard of it; and
    nothing else shows that, since what a daemon is, is what it says.
    """
    for each in have.values():
        if isinstance(each, Daemon) and each.running:
            path, text = paths.node_config(topology, each.node), json.dumps(each.config) + "\n"
            if path.read_text() != text:
                write_private(path, text)


def clear_away(topology: str, listener: Listener, unwanted: str = UNDONE) -> list[Operation]:
    """Remove all that bears the mark of `topology`, for whoever has the lock: processes, files and all."""
    mounts.release(paths.state_folder(topology))  # a fault of it, which would keep the keys
    operations = plan({}, observe(topology).have, unwanted=unwanted)
    supervisor.shutdown(topology)
    if here.node_of(topology) is not None and systemd.is_in_charge():
        systemd.stop(topology)  # also where nothing but its unit is left, as after a boot
    execute(topology, operations, listener)
    for name in netns.debris(scope_of(topology, "")):
        netns.remove(name)
    left = plan({}, observe(topology).have)
    if left:
        raise LtkError(f"removing {topology}", f"{left[0].resource} is still there")
    for folder in (paths.state_folder(topology), paths.run_folder(topology)):
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another topology has its folder there
            folder.parent.rmdir()
    return operations


def _observed(topology: str, undo: Undo) -> Observation:
    return observe(topology, undo.was, held=fault_places.held(topology))


def _write(topology: str, files: Files) -> None:
    """Put files back; what is as it should be is not written."""
    now = wanted_files(topology)
    for name, path in places(topology).items():
        text = files.get(name)
        if name not in files or now[name] == text:
            continue
        if text is None:
            path.unlink(missing_ok=True)
        else:
            paths.make_private_folder(path.parent)
            write_private(path, text)


def _restore_faults(topology: str, undo: Undo) -> None:
    """Have those faults be in force that were, in the network and at the supervisor, and no others."""
    applied = last_applied(topology)
    if applied is None or applied.lab is None:
        return
    from ltk.topology.faults import Kill, Stop, parse  # only now: it takes its time

    topology_now = with_faults(applied)
    fault_places.settle(topology_now, undo.faults)
    held = fault_places.held(topology)
    for node, entry in held.items():
        if entry not in undo.faults:
            supervisor.release_node(topology, node)
    for entry in undo.faults:
        with contextlib.suppress(InvalidInputError):  # its place has gone
            fault = parse(entry.fault, topology_now)
            if isinstance(fault, Kill | Stop) and fault.node not in held:
                fault_places.hold(topology, fault, entry)


def _end_unneeded(topology: str) -> None:
    """End the supervisor that has come with the run, where nothing is left for it to do."""
    kept_up = ("daemon", "program", "wire")
    if not any(each.kind in kept_up for each in observe(topology).have.values()):
        supervisor.shutdown(topology)
        paths.supervisor_log(topology).unlink(missing_ok=True)
