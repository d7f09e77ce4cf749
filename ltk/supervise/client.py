"""What others ask of a topology's supervisor: start it, start and stop nodes, list them, end it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.node.control import ask, ask_each

READY_DEADLINE = 10.0  # seconds for the supervisor to listen
START_DEADLINE = 35.0  # seconds; above the supervisor's own deadline for a node
STOP_DEADLINE = 10.0  # seconds; above the time after which the supervisor kills
LOCK_QUERY = "hhqqi4x"  # struct flock of fcntl(2): type, whence, start, length, process


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A node's daemon as its supervisor sees it. `state` is starting, running, waiting (to be restarted,
    then `pid` is None), stopping or held; `restarts` counts the unexpected ends since it was started."""

    name: str
    namespace: str
    config: Path
    pid: int | None
    state: str
    restarts: int
    fault: str | None  # what holds it, in the words of whoever asked for that


@dataclass(frozen=True, slots=True)
class ProgramProcess:
    """The program of `node` as its supervisor sees it; else as `NodeProcess`."""

    node: str
    command: str
    folder: str
    pid: int | None
    state: str
    restarts: int


def is_running(topology: str) -> bool:
    """Whether a supervisor of `topology` lives. Looks at its lock without touching it."""
    return _process(topology) is not None


def _process(topology: str) -> int | None:
    """The supervisor's process id; None where none lives."""
    try:
        lock = os.open(paths.supervisor_lock(topology), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = struct.pack(LOCK_QUERY, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        told = struct.unpack(LOCK_QUERY, fcntl.fcntl(lock, fcntl.F_GETLK, asked))
    finally:
        os.close(lock)
    return None if told[0] == fcntl.F_UNLCK else int(told[4])


def processes(topology: str) -> set[int]:
    """The supervisor of `topology` and the daemons that it keeps; without one there are none."""
    supervisor = _process(topology)
    if supervisor is None:
        return set()
    try:
        daemons = {each.pid for each in nodes(topology) if each.pid is not None}
    except LtkError:  # it is ending
        daemons = set()
    return {supervisor, *daemons}


def ensure_running(topology: str) -> None:
    """Start the supervisor of `topology` unless it runs; returns when it takes requests.

    Two that call this at once start one. Raises LtkError with the end of its log where it does not come up.
    """
    paths.make_private_folder(paths.run_folder(topology))
    with _turn(topology) as turn:
        if not is_running(topology):
            _start(topology, turn)


@contextlib.contextmanager
def _turn(topology: str) -> Iterator[int]:
    """Be the only one who may start a supervisor; yields what keeps it so, for as long as it is open.

    A supervisor that is about to begin has it too, whatever becomes of who started it: when this is one's
    own, one that runs listens. Raises FileNotFoundError where there is nothing of the topology.
    """
    turn = os.open(paths.run_folder(topology), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)  # whoever has it gives it back within READY_DEADLINE
        yield turn
    finally:
        os.close(turn)


@dataclass(frozen=True, slots=True)
class Start:
    """What to start: the daemon of `node`, in `namespace`, from the file `config`, writing to `log`."""

    node: str
    namespace: str
    config: Path
    log: Path


def start_node(topology: str, node: str, *, namespace: str, config: Path, log: Path) -> int:
    """Start one node as of `start_nodes`; returns its process id."""
    return start_nodes(topology, [Start(node, namespace, config, log)])[0]


def start_nodes(topology: str, starts: Sequence[Start]) -> list[int]:
    """Have these daemons run; returns their process ids in the same order. They start side by side.

    When this returns the daemons are ready, and kept up from then on. When it raises LtkError (with the end
    of the log of the first that failed), the others have been started nevertheless; nothing is left of
    one that was never ready before, and one that was is tried again. A daemon that runs from the same file
    already is left alone.
    """
    socket = paths.supervisor_socket(topology)
    requests = [
        {
            "do": "start",
            "node": each.node,
            "namespace": each.namespace,
            "config": str(each.config),
            "log": str(each.log),
        }
        for each in starts
    ]
    pids = []
    answers = ask_each([(socket, request) for request in requests], START_DEADLINE)
    for answer in answers:
        if isinstance(answer, LtkError):
            raise answer
        pids.append(int(str(answer["pid"])))
    return pids


def start_wires(topology: str) -> int:
    """Have the process of the wires run, from the files of `ltk.kernel.paths`; else as `start_node`."""
    answer = ask(paths.supervisor_socket(topology), {"do": "start-wires"}, START_DEADLINE)
    return int(str(answer["pid"]))


@dataclass(frozen=True, slots=True)
class RunStart:
    """What to start: the shell command `command` in `node`, in `namespace` and in the folder `folder`."""

    node: str
    namespace: str
    command: str
    folder: str


def start_programs(topology: str, starts: Sequence[RunStart]) -> None:
    """Have these programs run, and started again whenever they end; else as `start_nodes`."""
    requests = [
        {
            "do": "start-program",
            "node": each.node,
            "namespace": each.namespace,
            "command": each.command,
            "folder": each.folder,
        }
        for each in starts
    ]
    socket = paths.supervisor_socket(topology)
    for answer in ask_each([(socket, request) for request in requests], START_DEADLINE):
        if isinstance(answer, LtkError):
            raise answer


def stop_program(topology: str, node: str) -> None:
    """Stop the program of `node`; returns when nothing of it is left. Nothing to stop is fine."""
    stop_node(topology, f"{node}.run")


def stop_node(topology: str, node: str) -> None:
    """Stop the daemon of `node` and any repair of it; returns when they are gone. Nothing to stop is fine."""
    ask(paths.supervisor_socket(topology), {"do": "stop", "node": node}, STOP_DEADLINE)


def hold_node(topology: str, node: str, fault: str, *, kill: bool) -> None:
    """Kill the daemon of `node`, or stop it where it is, and start it no more until it is released.

    `fault` is what `nodes` tells about it meanwhile. Raises LtkError where no such daemon is kept up.
    """
    request = {"do": "hold", "node": node, "fault": fault, "kill": kill}
    ask(paths.supervisor_socket(topology), request, STOP_DEADLINE)


def release_node(topology: str, node: str) -> None:
    """Let the daemon of `node` go on, or start it again. Nothing to release is fine."""
    ask(paths.supervisor_socket(topology), {"do": "release", "node": node}, START_DEADLINE)


def nodes(topology: str) -> tuple[NodeProcess, ...]:
    """The daemons that the supervisor of `topology` keeps, in the order of their names."""
    return tuple(_node_process(entry) for entry in _listed(topology) if "config" in entry)


def programs(topology: str) -> tuple[ProgramProcess, ...]:
    """The programs that the supervisor of `topology` keeps running, in the order of their nodes' names."""
    return tuple(_program_process(entry) for entry in _listed(topology) if "command" in entry)


def _listed(topology: str) -> list[Mapping[str, object]]:
    _await_start(topology)
    listed = ask(paths.supervisor_socket(topology), {"do": "list"})["nodes"]
    return listed if isinstance(listed, list) else []


def _await_start(topology: str) -> None:
    """Return when the supervisor that a killed run may have begun to start listens, or has gone."""
    with contextlib.suppress(FileNotFoundError), _turn(topology):
        pass


def rest(topology: str) -> None:
    """End the repair that may be at work, for somebody who has more to do on the topology than that."""
    if is_running(topology):
        with contextlib.suppress(LtkError):  # it has ended, or is of an older version: the lock decides
            ask(paths.supervisor_socket(topology), {"do": "rest"}, STOP_DEADLINE)


def shutdown(topology: str) -> None:
    """Stop every daemon and the supervisor; returns when they are gone. Nothing to stop is fine."""
    doing = f"stopping the supervisor of {topology}"
    _await_start(topology)
    process = _process(topology)
    if process is None:
        return
    try:
        held = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        ask(paths.supervisor_socket(topology), {"do": "shutdown"}, STOP_DEADLINE)
        if not _readable_within(held, STOP_DEADLINE):
            raise LtkError(doing, f"process {process} did not end within {STOP_DEADLINE:g} s")
    finally:
        os.close(held)


def _start(topology: str, turn: int) -> None:
    doing = f"starting the supervisor of {topology}"
    log = paths.supervisor_log(topology)
    ours, theirs = os.pipe()
    try:
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            begin = output.tell()
            launcher = subprocess.Popen(
                [sys.executable, "-P", "-m", "ltk.supervise", topology, "--ready", str(theirs), str(turn)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                pass_fds=(theirs, turn),
            )
        os.close(theirs)
        theirs = -1
        launcher.wait(READY_DEADLINE)  # it ends at once: what stays is its child
        said = _read_within(ours, READY_DEADLINE)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()
        said = None
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    if said is None:
        raise LtkError(doing, f"it was not ready within {READY_DEADLINE:g} s", hint=f"Its log is {log}.")
    if not said:
        raise LtkError(doing, f"it ended: {tail(log, begin)}", hint=f"Its log is {log}.")


def tail(log: Path, begin: int = 0, limit: int = 2000) -> str:
    """The last `limit` bytes that were written to `log` from the offset `begin` on."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - limit))
        return file.read().decode(errors="replace").strip() or "it said nothing"


def _read_within(descriptor: int, timeout: float) -> bytes | None:
    """What can be read next; b"" when the other end was closed, None when `timeout` seconds have passed."""
    return os.read(descriptor, 16) if _readable_within(descriptor, timeout) else None


def _readable_within(descriptor: int, timeout: float) -> bool:
    with select.epoll() as epoll:
        epoll.register(descriptor, select.EPOLLIN)
        return bool(epoll.poll(timeout))


def _node_process(entry: Mapping[str, object]) -> NodeProcess:
    pid = entry["pid"]
    return NodeProcess(
        name=str(entry["node"]),
        namespace=str(entry["namespace"]),
        config=Path(str(entry["config"])),
        pid=pid if isinstance(pid, int) else None,
        state=str(entry["state"]),
        restarts=int(str(entry["restarts"])),
        fault=None if entry["fault"] is None else str(entry["fault"]),
    )


def _program_process(entry: Mapping[str, object]) -> ProgramProcess:
    pid = entry["pid"]
    return ProgramProcess(
        node=str(entry["place"]),
        command=str(entry["command"]),
        folder=str(entry["folder"]),
        pid=pid if isinstance(pid, int) else None,
        state=str(entry["state"]),
        restarts=int(str(entry["restarts"])),
    )
