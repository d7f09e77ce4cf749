"""The supervisor's children, forked without exec so that all share their pages: a lab's daemons, one a
node, and the process that carries its wires."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeAlias

from ltk.errors import LtkError
from ltk.kernel import netns, paths
from ltk.node import daemon
from ltk.node.config import Reader, Told
from ltk.node.log import say
from ltk.node.notify import Notifier
from ltk.supervise import program, wires

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OF_PROGRAMS = ".run"  # with a dot, which no name of a node has
ENDING = {signal.SIGTERM, signal.SIGINT}

_reader = Reader()
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: the daemon of `node`, in `namespace`, from the file `config`, writing to `log`.

    A real host's is where the supervisor is: then `namespace` is empty.
    """

    node: str
    namespace: str
    config: Path
    log: Path

    @property
    def what(self) -> str:
        """What it is called where it fails."""
        return f"the daemon of {self.node}"

    def prepared(self) -> Callable[[Notifier], None]:
        """What the child does. Its configuration is read here, since others are told much the same."""
        try:
            told: Told | Path = _reader.read(self.config)
        except LtkError:
            told = self.config  # the child fails at it in its turn, and its log says why
        return partial(self._run, told)

    def _run(self, told: Told | Path, notifier: Notifier) -> None:
        if self.namespace:
            netns.enter(self.namespace)
        daemon.run(told, notifier)


@dataclass(frozen=True, slots=True)
class WireOrder:
    """What to run: the process that carries the wires of the file `config` and listens on `control`.

    It stays in the machine's own namespace, since its wires lead through many. `node` is its name
    among the nodes, which none of them has.
    """

    config: Path
    control: Path
    log: Path
    node: str = paths.WIRES
    namespace: str = ""

    @property
    def what(self) -> str:
        """What it is called where it fails."""
        return "the process of the wires"

    def prepared(self) -> Callable[[Notifier], None]:
        """What the child does."""
        return self._run

    def _run(self, notifier: Notifier) -> None:
        wires.run(self.config, self.control, notifier)


@dataclass(frozen=True, slots=True)
class ProgramOrder:
    """What to run: a shell command in `namespace` and in `folder`, writing to `log`.

    `node` is its name among the nodes, which none of them has; `place` is the node it runs in.
    """

    place: str
    namespace: str
    command: str
    folder: str
    log: Path

    @property
    def node(self) -> str:
        """Its name among what is kept up."""
        return f"{self.place}{OF_PROGRAMS}"

    @property
    def what(self) -> str:
        """What it is called where it fails."""
        return f"the program of {self.place}"

    def prepared(self) -> Callable[[Notifier], None]:
        """What the child does."""
        return self._run

    def _run(self, notifier: Notifier) -> None:
        netns.enter_with_sysfs(self.namespace)
        program.mind(self.command, self.folder, notifier)


AnyOrder: TypeAlias = Order | WireOrder | ProgramOrder


@dataclass(frozen=True, slots=True)
class Process:
    """A running child: `pidfd` becomes readable when it ends, `notices` carries what it tells."""

    pid: int
    pidfd: int
    notices: socket.socket

    def send(self, number: signal.Signals) -> None:
        """Send the signal `number`; harmless when the child has ended."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Close this side's descriptors."""
        os.close(self.pidfd)
        self.notices.close()


def spawn(order: AnyOrder, let_go: Callable[[], None]) -> Process:
    """Fork what `order` says. In the child `let_go` closes what belongs to the supervisor.

    The child ends with the supervisor, however that ends. Only for a process with one thread.
    Raises LtkError where the machine has no room for another process.
    """
    work = order.prepared()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    # Until the child has handlers of its own, a signal for it would come out at the supervisor's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be_the_child(order.log, work, theirs, parent, let_go, before)
        return Process(pid, os.pidfd_open(pid), ours)
    except OSError as error:
        ours.close()
        raise LtkError(f"forking {order.what}", error.strerror or str(error)) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _be_the_child(
    log: Path,
    work: Callable[[Notifier], None],
    notices: socket.socket,
    parent: int,
    let_go: Callable[[], None],
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Run it and leave without returning into the supervisor's frames, whatever happens."""
    status = 1
    try:
        _end_with(parent)
        let_go()
        _write_to(log)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work(Notifier(notices))
        status = 0
    except LtkError as error:
        say("error", f"{error} {error.hint or ''}".rstrip())
        status = error.exit_status
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def _end_with(parent: int) -> None:
    if _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise LtkError("asking to end with the supervisor", os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _write_to(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.close(nothing)
