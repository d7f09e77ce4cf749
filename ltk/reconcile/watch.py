"""`ltk watch`: hears that something may have changed, looks, says what differs, and repairs it where asked.

What is heard: the kernel's events of the topology's namespaces (links, addresses, routes, policy rules,
rule sets), the ends of its daemons and of their supervisor, and files that come and go. Of sysctls the
kernel says nothing: they are read every `POLL` seconds. What it decides from that is in
`ltk.reconcile.vigil`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from types import TracebackType

from ltk.errors import BusyError, InvalidInputError, LtkError
from ltk.kernel import netns, paths
from ltk.kernel.events import Events
from ltk.kernel.inotify import Change, Folders
from ltk.node.control import listening_process
from ltk.node.poller import IN, Poller, Signals
from ltk.reconcile import drift
from ltk.reconcile.apply import exists, is_locked, locked, wanted
from ltk.reconcile.remembered import last_applied
from ltk.reconcile.resources import HERE, Daemon, Namespace, Secret, State, scope_of
from ltk.reconcile.vigil import Said, Vigil
from ltk.supervise import client as supervisor
from ltk.topology.expanded import Topology

POLL = 0.4  # seconds between two readings of all sysctls
POLL_SHARE = 25  # a reading that took this long is followed by so many times as long without one
STAYING = ("lock", "supervisor.lock")  # files whose coming and going is somebody's work, and no drift

Listener = Callable[[Said], None]


class Watch:
    """Watches one topology that is up, until a signal comes or it is destroyed."""

    def __init__(self, topology: Topology, listener: Listener, *, repairing: bool = False) -> None:
        """`listener` hears what is found and done, as it happens.

        What is wanted is what was applied last under the name of `topology`; to apply another is `apply`'s.
        Raises InvalidInputError where the topology is not up, or needs a secret that cannot be had here.
        """
        if not exists(topology.name):
            hint = "Bring it up: ltk apply FILE"
            raise InvalidInputError(f"watching {topology.name}", "it is not up", hint=hint)
        self._topology = last_applied(topology.name) or topology
        self._listener = listener
        self._repairing = repairing
        self._want: State = wanted(self._topology)
        self._want_again = False  # something that decides what is wanted has changed
        self._read_again = False  # somebody has applied something else
        self._vigil = Vigil()
        self._values: drift.Values = {}
        self._ended = False
        self._daemons: dict[int, int] = {}  # process ids -> descriptors
        with contextlib.ExitStack() as stack:
            self._poller = Poller()
            stack.callback(self._poller.close)
            signals = Signals(self._poller, (signal.SIGINT, signal.SIGTERM), self._end)
            stack.callback(signals.close)
            self._events = Events()
            stack.callback(self._events.close)
            for descriptor in self._events.descriptors():
                self._poller.watch(descriptor, IN, self._hear)
            self._folders = Folders()
            stack.callback(self._folders.close)
            self._poller.watch(self._folders.fileno(), IN, self._hear_of_files)
            self._stack = stack.pop_all()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        for descriptor in self._daemons.values():
            os.close(descriptor)
        self._stack.close()

    def run(self) -> bool:
        """Watch; returns whether the topology is still there: False where it was destroyed meanwhile."""
        self._poll()
        while not self._ended:
            if time.monotonic() >= self._vigil.due:
                if self._is_gone():
                    return False
                self._turn()
            self._poller.wait(self._vigil.due)
        return True

    def _is_gone(self) -> bool:
        """Whether nothing is left that could be repaired: nobody who keeps it up, and not one namespace.

        A `destroy` that has just removed these still has its files to remove.
        """
        name = self._topology.name
        scopes = [each.scope for each in self._want.values() if isinstance(each, Namespace)]
        bare = bool(scopes) and not any(map(netns.is_namespace, scopes))
        return (bare and not supervisor.is_running(name)) or not exists(name)

    def _end(self, _signal: int) -> None:
        self._ended = True

    def _hear(self, _mask: int) -> None:
        heard = self._events.read()
        if heard.scopes or heard.missed:
            self._vigil.heard(time.monotonic())

    def _hear_of_files(self, _mask: int) -> None:
        for change in self._folders.read():
            if self._is_ours(change):
                self._want_again |= change.folder != netns.FOLDER
                self._read_again |= change.name == paths.applied(self._topology.name).name
                self._vigil.heard(time.monotonic())

    def _is_ours(self, change: Change) -> bool:
        if change.folder == netns.FOLDER and change.name:
            return change.name.startswith(scope_of(self._topology.name, ""))
        return not change.name.startswith(".") and change.name not in STAYING

    def _turn(self) -> None:
        """Look, and repair what differs where that is wanted; or wait for another ltk to end its work."""
        if is_locked(self._topology.name):
            self._give_way()
            return
        try:
            self._follow_the_applied()
            self._look()
        except LtkError as error:
            self._say(self._vigil.failed(error, time.monotonic(), looking=True))
            return
        if not self._repairing:
            return
        now = time.monotonic()
        if self._vigil.may_repair(now):
            self._repair()
        else:
            self._say(self._vigil.postponed(now))

    def _give_way(self) -> None:
        self._want_again = self._read_again = True
        self._vigil.busy(time.monotonic())

    def _follow_the_applied(self) -> None:
        """What another ltk has applied since is what is wanted from now on."""
        if self._read_again:
            self._topology = last_applied(self._topology.name) or self._topology
            self._read_again = False
        if self._want_again:
            self._want = wanted(self._topology, self._want)
            self._want_again = False

    def _look(self) -> None:
        """Have everything that can be heard be heard first, so that nothing happens in between."""
        name = self._topology.name
        places = (each.scopes for each in self._want.values() if not isinstance(each, Secret))
        self._events.follow(sorted(set(chain.from_iterable(places))))
        self._folders.watch(netns.FOLDER)
        self._folders.watch(paths.run_folder(name))
        self._folders.watch(paths.state_folder(name), contents=True)
        self._follow_processes(self._processes())
        began = time.monotonic()
        found = drift.look(name, self._want)
        if is_locked(name):  # some of it may be another's work that is half done
            self._give_way()
            return
        self._say(self._vigil.looked(began, time.monotonic(), found.operations, found.in_the_way))

    def _processes(self) -> set[int]:
        """The supervisor and its daemons; of a daemon that systemd keeps, that one."""
        own = [each.node for each in self._want.values() if isinstance(each, Daemon) and each.scope == HERE]
        name = self._topology.name
        listening = (listening_process(paths.control_socket(name, node)) for node in own)
        return supervisor.processes(name) | {each for each in listening if each is not None}

    def _follow_processes(self, processes: Iterable[int]) -> None:
        for process in set(processes) - self._daemons.keys():
            with contextlib.suppress(ProcessLookupError):  # it has ended already, as the look will find
                descriptor = os.pidfd_open(process)
                self._daemons[process] = descriptor
                self._poller.watch(descriptor, IN, partial(self._process_ended, process))

    def _process_ended(self, process: int, _mask: int) -> None:
        descriptor = self._daemons.pop(process)
        self._poller.forget(descriptor)
        os.close(descriptor)
        self._vigil.heard(time.monotonic())

    def _repair(self) -> None:
        try:
            with locked(self._topology.name, "repairing"):
                self._hear_of_files(IN)
                if self._read_again:  # another ltk has come and gone since the look
                    return
                made = drift.repair(self._topology, self._want)
        except BusyError:
            self._give_way()
        except LtkError as error:
            self._say(self._vigil.failed(error, time.monotonic()))
        else:
            self._say(self._vigil.repaired(made.done, time.monotonic(), made.in_vain))
        self._want_again = True  # a key may have been made

    def _poll(self) -> None:
        """Read the sysctls; one that has another value than before is as good as heard of."""
        began = time.monotonic()
        with contextlib.suppress(LtkError):  # a namespace has gone, which is heard of otherwise
            values = drift.settings(self._want)
            if values != self._values:
                self._values = values
                self._vigil.heard(began)
        took = time.monotonic() - began
        self._poller.later(max(POLL, POLL_SHARE * took), self._poll)

    def _say(self, said: Iterable[Said]) -> None:
        for each in said:
            self._listener(each)
