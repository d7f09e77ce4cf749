"""Keeps the daemons of one topology, and the process of its wires, up, and goes when it is told to.

States of a node, and what moves it on:

    starting  forked, not ready    READY=1 -> running; ended -> waiting, but forgotten where this was its
                                   first start and failed; START_LIMIT -> killed
    running   ready                ended, whyever -> waiting; or held, where a fault is the reason
    waiting   to be started again  the back-off is over, or a start request -> starting
    held      a fault keeps it so  released -> starting
    stopping  asked to end         ended -> forgotten; STOP_LIMIT -> killed
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ltk.errors import BusyError, InvalidInputError, LtkError
from ltk.kernel import paths
from ltk.kernel.inotify import Folders
from ltk.node.control import Answer, ControlServer, Request, failure
from ltk.node.log import say
from ltk.node.notify import DEVICE_GONE, READY
from ltk.node.poller import IN, Backoff, Deadline, Poller, Signals
from ltk.supervise.child import AnyOrder, Order, Process, ProgramOrder, WireOrder, spawn
from ltk.supervise.client import tail
from ltk.supervise.program import end_group
from ltk.supervise.repair import Repairs

START_LIMIT = 30.0  # seconds that a daemon gets to become ready; of a large lab many start at once
STOP_LIMIT = 5.0  # seconds that a daemon gets to end
FIRST_RESTART = 0.1  # seconds
RESTART_LIMIT = 5.0  # seconds between restarts
LONG_LIFE = 10.0  # seconds of life after which the next restart is a first one again
FLUSH_TIME = 1.0  # seconds that the last answers get at the end


class State(StrEnum):
    """Where a node is between being asked for and being gone."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"
    STOPPING = "stopping"


@dataclass(slots=True)
class Node:
    """A node that is kept up. `deadline` is the next thing that is owed to it.

    `proven` says that it has been ready once: from then on a start that fails is tried again.
    """

    order: AnyOrder
    state: State = State.WAITING
    process: Process | None = None
    began: float = 0.0
    log_size: int = 0
    restarts: int = 0
    proven: bool = False
    fault: str | None = None  # what holds it: killed, then it is not started again, or stopped
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_RESTART, RESTART_LIMIT))
    deadline: Deadline | None = None
    waiting_for_start: list[Answer] = field(default_factory=list)
    waiting_for_stop: list[Callable[[], None]] = field(default_factory=list)
    waiting_for_hold: list[Answer] = field(default_factory=list)

    def owe(self, deadline: Deadline | None) -> None:
        """Owe `deadline` instead of what was owed before."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = deadline


class Supervisor:
    """One process, one thread, one epoll: requests, children, repairs and signals."""

    def __init__(self, topology: str, lock: int) -> None:
        """Listen. `lock` is the descriptor of the locked file, kept open for as long as this lives.

        Raises BusyError when another process listens already.
        """
        self._topology = topology
        self._lock = lock
        self._poller = Poller()
        self._nodes: dict[str, Node] = {}
        self._repairs = Repairs(topology, self._poller)
        self._server = ControlServer(paths.supervisor_socket(topology), self._poller, self._handle)
        self._files = Folders()
        self._files.watch(paths.run_folder(topology))
        self._poller.watch(self._files.fileno(), IN, self._files_changed)
        self._signals = Signals(self._poller, (signal.SIGTERM, signal.SIGINT), self._end_for)
        self._ending: list[Answer] | None = None

    def run(self, before_the_end: Callable[[], None]) -> None:
        """Supervise until told to end and every daemon has ended; then `before_the_end()`, then answer."""
        while self._ending is None or self._nodes:
            self._poller.wait()
        before_the_end()
        for answer in self._ending:
            answer({})
        self._server.flush(time.monotonic() + FLUSH_TIME)
        self._server.close()
        self._files.close()
        self._signals.close()
        self._poller.close()
        say("info", f"the supervisor of {self._topology} has ended")

    def _files_changed(self, _mask: int) -> None:
        """Nobody could stop it any more, or ask it for anything, if its own socket stayed deleted."""
        if any(change.name in ("", self._server.path.name) for change in self._files.read()):
            with contextlib.suppress(LtkError, OSError):  # its folder may have gone as a whole
                self._server.listen_anew()

    def _handle(self, request: Request, answer: Answer) -> None:
        match request:
            case {"do": "start", "node": str(), "namespace": str(), "config": str(), "log": str()}:
                order = Order(
                    str(request["node"]),
                    str(request["namespace"]),
                    Path(str(request["config"])),
                    Path(str(request["log"])),
                )
                self._start(order, answer)
            case {"do": "start-wires"}:
                topology = self._topology
                self._start(
                    WireOrder(
                        config=paths.wires_config(topology),
                        control=paths.wires_socket(topology),
                        log=paths.wires_log(topology),
                    ),
                    answer,
                )
            case {"do": "start-program", "node": str(), "namespace": str(), "command": str()}:
                self._start(
                    ProgramOrder(
                        str(request["node"]),
                        str(request["namespace"]),
                        str(request["command"]),
                        str(request.get("folder", "/")),
                        paths.program_log(self._topology, str(request["node"])),
                    ),
                    answer,
                )
            case {"do": "stop", "node": str(name)}:
                self._stop(name, lambda: answer({}))
            case {"do": "hold", "node": str(name), "fault": str(fault), "kill": bool(kill)}:
                self._hold(name, fault, kill, answer)
            case {"do": "release", "node": str(name)}:
                self._release(name)
                answer({})
            case {"do": "list"}:
                answer({"nodes": [_listed(node) for _, node in sorted(self._nodes.items())]})
            case {"do": "rest"}:
                self._repairs.rest(lambda: answer({}))
            case {"do": "shutdown"}:
                self._end(answer)
            case _:
                raise InvalidInputError(
                    "reading a request",
                    "it is none of start, start-wires, start-program, stop, hold, release, list, rest and"
                    " shutdown, with what each needs",
                )

    def _start(self, order: AnyOrder, answer: Answer) -> None:
        doing = f"starting {order.what}"
        if self._ending is not None:
            raise BusyError(doing, "the supervisor is ending")
        node = self._nodes.setdefault(order.node, Node(order))
        if node.state is State.STOPPING:
            raise BusyError(doing, "it is being stopped")
        if node.order != order:
            raise LtkError(doing, "it is kept up from another configuration", hint="Stop it first.")
        if node.state is State.RUNNING and node.process is not None:
            answer({"pid": node.process.pid})
            return
        if node.state is State.HELD:
            raise BusyError(
                doing, "a fault keeps it down", hint=f"Clear it: ltk fault {self._topology} clear"
            )
        node.waiting_for_start.append(answer)
        if node.state is State.WAITING:
            self._spawn(node)

    def _spawn(self, node: Node) -> None:
        node.state = State.STARTING
        node.began = time.monotonic()
        node.log_size = node.order.log.stat().st_size if node.order.log.exists() else 0
        try:
            process = node.process = spawn(node.order, self._let_go)
        except LtkError as error:
            self._after_the_end(node, f"before it began: {error}")
            return
        node.owe(self._poller.later(START_LIMIT, lambda: self._took_too_long(node, process)))
        self._poller.watch(process.pidfd, IN, lambda _: self._ended(node, process))
        self._poller.watch(process.notices.fileno(), IN, lambda _: self._notified(node, process))

    def _notified(self, node: Node, process: Process) -> None:
        """Hear all that the child has said; forget the socket when it says no more."""
        while True:
            try:
                notice = process.notices.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                notice = b""
            if not notice:
                self._poller.forget(process.notices.fileno())
                return
            states = notice.decode(errors="replace").split("\n")
            if READY in states and node.state is State.STARTING:
                self._ready(node, process)
            if DEVICE_GONE in states and node.state is not State.STOPPING and not node.waiting_for_start:
                self._repairs.want(node.order.node)

    def _ready(self, node: Node, process: Process) -> None:
        node.state = State.RUNNING
        node.proven = True
        node.owe(self._poller.later(LONG_LIFE, node.backoff.reset))
        say("info", f"{node.order.node} runs as process {process.pid}")
        waiting, node.waiting_for_start = node.waiting_for_start, []
        for answer in waiting:
            answer({"pid": process.pid})

    def _took_too_long(self, node: Node, process: Process) -> None:
        say("error", f"{node.order.node} was not ready within {START_LIMIT:g} s, killing it")
        process.send(signal.SIGKILL)

    def _ended(self, node: Node, process: Process) -> None:
        self._notified(node, process)  # the last words may be read after the end only
        self._poller.forget(process.notices.fileno())
        self._poller.forget(process.pidfd)
        if isinstance(node.order, ProgramOrder):
            end_group(process.pid)
        status = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
        process.close()
        node.process = None
        self._after_the_end(node, f"by signal {-status}" if status < 0 else f"with status {status}")

    def _after_the_end(self, node: Node, how: str) -> None:
        node.owe(None)
        if node.state is State.STOPPING:
            say("info", f"{node.order.node} ended {how}, as asked")
            self._gone(node)
        elif node.fault is not None:
            say("info", f"{node.order.node} ended {how}, and a fault keeps it so")
            self._refuse(node, how)
            node.state = State.HELD
            waiting, node.waiting_for_hold = node.waiting_for_hold, []
            for answer in waiting:
                answer({})
        elif node.waiting_for_start and not node.proven:
            self._refuse(node, how)
            self._gone(node)
        else:
            self._refuse(node, how)
            delay = node.backoff.next()
            node.restarts += 1
            node.state = State.WAITING
            node.owe(self._poller.later(delay, lambda: self._spawn(node)))
            say("warning", f"{node.order.node} ended {how}, starting it again in {delay:g} s")

    def _refuse(self, node: Node, how: str) -> None:
        """Tell those who wait for the start why there was none."""
        if not node.waiting_for_start:
            return
        name, log = node.order.node, node.order.log
        said = tail(log, node.log_size) if log.exists() else "it said nothing"
        say("error", f"{name} ended {how} before it was ready")
        error = LtkError(f"starting {node.order.what}", f"it ended {how}: {said}", hint=f"Its log is {log}.")
        waiting, node.waiting_for_start = node.waiting_for_start, []
        for answer in waiting:
            answer(failure(error))

    def _stop(self, name: str, done: Callable[[], None]) -> None:
        node = self._nodes.get(name)
        if node is None:
            done()
            return
        node.waiting_for_stop.append(done)
        if node.state is State.STOPPING:
            return
        node.state = State.STOPPING
        for answer in node.waiting_for_start:
            answer(failure(LtkError(f"starting {node.order.what}", "it was asked to stop meanwhile")))
        node.waiting_for_start.clear()
        if (process := node.process) is not None:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)  # where it stands still it would never hear the other
            node.owe(self._poller.later(STOP_LIMIT, lambda: process.send(signal.SIGKILL)))
        else:
            node.owe(None)
            self._gone(node)

    def _hold(self, name: str, fault: str, kill: bool, answer: Answer) -> None:
        node = self._nodes.get(name)
        doing = f"holding the daemon of {name}"
        if node is None or node.state is State.STOPPING:
            raise LtkError(doing, "it is not kept up")
        if node.fault is not None:
            raise BusyError(doing, "another fault holds it")
        say("info", f"{name} is held by a fault: {fault}")
        node.fault = fault
        if node.process is None:  # it is about to be started again
            node.owe(None)
            node.state = State.HELD
            answer({})
        elif kill:
            node.waiting_for_hold.append(answer)
            node.process.send(signal.SIGKILL)
        else:
            node.owe(None)
            node.process.send(signal.SIGSTOP)
            answer({})

    def _release(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None or node.fault is None:
            return
        say("info", f"{name} is held no longer")
        node.fault = None
        if node.process is not None:
            node.process.send(signal.SIGCONT)
        elif node.state is State.HELD:
            self._spawn(node)

    def _gone(self, node: Node) -> None:
        """The daemon has ended for good; so must what is at work on it."""
        node.state = State.STOPPING

        def forget() -> None:
            del self._nodes[node.order.node]
            for done in node.waiting_for_stop:
                done()

        self._repairs.call_off(node.order.node, forget)

    def _end(self, answer: Answer | None) -> None:
        if self._ending is None:
            self._ending = []
            for name in tuple(self._nodes):
                self._stop(name, lambda: None)
        if answer is not None:
            self._ending.append(answer)

    def _end_for(self, number: int) -> None:
        say("info", f"ending for {signal.Signals(number).name}")
        self._end(None)

    def _let_go(self) -> None:
        """Close all that is the supervisor's; runs in a forked child."""
        self._poller.close()
        os.close(self._lock)
        self._server.close(remove=False)
        self._files.close()
        self._signals.close()
        self._repairs.let_go()
        for node in self._nodes.values():
            if node.process is not None:
                node.process.close()


def _listed(node: Node) -> dict[str, object]:
    return {
        "node": node.order.node,
        "namespace": node.order.namespace,
        **_said(node.order),
        "pid": None if node.process is None else node.process.pid,
        "state": node.state.value,
        "restarts": node.restarts,
        "fault": node.fault,
        "age_s": None if node.process is None else round(time.monotonic() - node.began, 1),
    }


def _said(order: AnyOrder) -> dict[str, object]:
    if isinstance(order, ProgramOrder):
        return {"place": order.place, "command": order.command, "folder": order.folder}
    return {"config": str(order.config)}
