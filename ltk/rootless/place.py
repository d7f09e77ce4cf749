"""The place of an ordinary user: where their labs are, and how each of their commands gets there.

It is a user namespace in which the user is root, with a network of its own and a mount namespace with a
/run and a /var/lib of its own. Namespaces that nobody can name stay only as long as a process lives in
them: that is the keeper (`ltk.rootless.keeper`). The first command that needs the place starts it, and the
last that leaves it ends it, when nothing is up any more.

What is needed to find it again is one file in a folder of the user's. The keeper holds a POSIX lock on it
for as long as it lives, so that the kernel says who it is, and never of somebody who has its number by
now. Whoever is in the place holds a shared lock on the same file (flock(2), which has nothing to do with
the other kind), and the folder itself is locked for the moments of entering and leaving. The file says by
which mark the place is known: what has survived its keeper is found by it, and ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ltk.errors import InTheWayError, LtkError, MissingError
from ltk.kernel import netns, paths, processes, userns

MARK = Path("/run/.ltk-place")  # in the place: what the file outside says as well
KEEPER = "keeper"
READY_DEADLINE = 10.0  # seconds for the keeper to make the place
LOCK_QUERY = "hhqqi4x"  # struct flock of fcntl(2): type, whence, start, length, process
ROUNDS = 20  # of what another process may undo just then, each time by ending or forking
ADMINISTRATION = ("/usr/sbin", "/sbin")  # where ip and nft are; Debian's users do not have them on their PATH


@dataclass(frozen=True, slots=True)
class Place:
    """This process is in the place, until it ends. `turn` is the folder, `file` the keeper's, locked."""

    folder: Path
    turn: int
    file: int

    def leave(self) -> None:
        """Say that this process needs the place no more; the last one ends it, unless something is up.

        Only the locks are given back: a process cannot go back to where it came from.
        """
        try:
            fcntl.flock(self.turn, fcntl.LOCK_EX)
            with contextlib.suppress(BlockingIOError):  # somebody else is in it, and will see to it
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_used():
                    self._end()
        finally:
            for descriptor in (self.file, self.turn):
                os.close(descriptor)

    def _end(self) -> None:
        if (keeper := _holder(self.file)) is not None:
            processes.end([keeper])
        _remove(self.folder)


def is_here() -> bool:
    """Whether this process is in the place of an ordinary user, as root of it."""
    return MARK.exists()


def find() -> bool:
    """Whether this user has a place. Looks, and changes nothing."""
    try:
        file = os.open(_folder() / KEEPER, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _holder(file) is not None
    finally:
        os.close(file)


def enter(*, network: bool = True) -> Place:
    """Move this process into its user's place, which is made where there is none.

    Without `network` it stays in the machine's network, and can reach nothing but the place's files. For a
    process with one thread. Raises MissingError with what the machine has to allow, where it does not.
    """
    folder = _folder()
    with contextlib.ExitStack() as undo:
        turn = _locked(folder)
        undo.callback(os.close, turn)
        file = _kept(folder)
        undo.callback(os.close, file)
        keeper = _living(file)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            userns.join(keeper, network=network)
        finally:
            os.close(keeper)
        fcntl.flock(turn, fcntl.LOCK_UN)
        undo.pop_all()
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*parts, *(each for each in ADMINISTRATION if each not in parts)])
    return Place(folder, turn, file)


def _folder() -> Path:
    """The user's folder: below the run-time folder that the session or the machine gives them, else /tmp."""
    user = os.geteuid()
    for text in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"):
        if text and text.startswith("/") and os.access(text, os.W_OK | os.X_OK):
            folder = Path(text)
            if folder.stat().st_uid == user:
                return folder / "ltk"
    return Path(f"/tmp/ltk-{user}")


def _locked(folder: Path) -> int:
    """The folder, open and locked for this process alone; made where it is missing.

    Raises InTheWayError where somebody else has made it, or has a way into it.
    """
    for _ in range(ROUNDS):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            turn = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # the last one has just left it
            continue
        except OSError as error:
            raise InTheWayError(f"opening {folder}", str(error.strerror), hint="Remove it.") from None
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, turn)
            found = _required_private(folder, turn)
            fcntl.flock(turn, fcntl.LOCK_EX)  # held for as long as it takes to make the place or to end it
            if folder.exists() and os.path.samestat(folder.stat(), found):
                undo.pop_all()
                return turn
    raise LtkError(f"opening {folder}", "it goes and comes all the time", hint="Run this again.")


def _required_private(folder: Path, descriptor: int) -> os.stat_result:
    """What the folder is; InTheWayError where others than this user have a way into it."""
    found = os.fstat(descriptor)
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or mode & 0o077:
        problem = f"it is user {found.st_uid}'s, with mode {mode:04o}, and has to be ours alone"
        raise InTheWayError(f"opening {folder}", problem, hint="Have it removed.")
    return found


def _kept(folder: Path) -> int:
    """The keeper's file, open, with a keeper behind it. The folder is locked."""
    with contextlib.suppress(FileNotFoundError):
        file = os.open(folder / KEEPER, os.O_RDWR | os.O_CLOEXEC)
        if _holder(file) is not None:
            return file
        mark = os.read(file, 64)
        os.close(file)
        _end_what_is_left(mark)
        (folder / KEEPER).unlink()
    with contextlib.ExitStack() as undo:
        undo.callback(_remove, folder)
        _start(folder)
        file = os.open(folder / KEEPER, os.O_RDWR | os.O_CLOEXEC)
        undo.pop_all()
    return file


def _holder(file: int) -> int | None:
    """The process that has the POSIX lock on the file; None where there is none."""
    asked = struct.pack(LOCK_QUERY, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    told = struct.unpack(LOCK_QUERY, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if told[0] == fcntl.F_UNLCK else int(told[4])


def _living(file: int) -> int:
    """A pidfd of the keeper: of the one that has the lock even after it was opened."""
    doing = "looking for the keeper of the user's namespaces"
    try:
        keeper = os.pidfd_open(_holder(file) or 0)
    except (OSError, ValueError) as error:
        raise LtkError(doing, str(error), hint="It has just ended. Run this again.") from None
    if _holder(file) is None:
        os.close(keeper)
        raise LtkError(doing, "it has just ended", hint="Run this again.")
    return keeper


def _start(folder: Path) -> None:
    """Have a keeper make the place; returns when it has, raises LtkError with what has stopped it."""
    doing = "making the user's namespaces"
    ours, theirs = os.pipe()
    try:
        launcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "ltk.rootless", str(folder / KEEPER), str(theirs)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=(theirs,),
        )
        os.close(theirs)
        theirs = -1
        launcher.wait(READY_DEADLINE)  # it ends at once: what stays is its child
        said = _read_all(ours)
    except OSError as error:
        hint = "You have to be able to run the Python that ltk is installed for."
        raise MissingError(doing, f"{error.filename}: {error.strerror}", hint=hint) from None
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()
        said = ""
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    match said.split("\n", 3):
        case ["ready", *_]:
            return
        case ["missing", what, problem, hint]:
            raise MissingError(what, problem, hint=hint or None)
        case ["failed", what, problem, hint]:
            raise LtkError(what, problem, hint=hint or None)
    problem = f"the keeper did not say within {READY_DEADLINE:g} s that it is ready"
    raise LtkError(doing, problem, hint=f"Try it by hand: {sys.executable} -P -m ltk.rootless FILE 1")


def _read_all(pipe: int) -> str:
    """All that comes until the pipe's other end is closed; what has come when the time is up."""
    said = b""
    with select.epoll() as epoll:
        epoll.register(pipe, select.EPOLLIN)
        while epoll.poll(READY_DEADLINE) and (more := os.read(pipe, 4096)):
            said += more
    return said.decode(errors="replace")


def _is_used() -> bool:
    """Whether anything is in the place that has to stay; asked from inside."""
    return bool(netns.names()) or (paths.RUN.is_dir() and any(paths.RUN.iterdir()))


def _remove(folder: Path) -> None:
    (folder / KEEPER).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody has put something else into it
        folder.rmdir()


def _end_what_is_left(mark: bytes) -> None:
    """End all processes in the place of this mark, whose keeper has been killed; it goes with the last."""
    for _ in range(ROUNDS):
        if not (left := _marked(mark)):
            return
        processes.end(left)
    raise LtkError("ending what a killed keeper has left", f"there are more and more processes: {left}")


def _marked(mark: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                if mark and (entry / "root" / MARK.relative_to("/")).read_bytes() == mark:
                    found.append(int(entry.name))
    return found
