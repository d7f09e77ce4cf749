"""Network namespaces by name: made, entered, listed and removed without forking.

A named namespace is a file below /run/netns on which the namespace's own file is bind-mounted;
that is the convention of `ip netns`, so that both see the same. The system calls are made
directly: a helper process per namespace costs about ten milliseconds, a call about one half.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ltk.errors import LtkError, MissingError

FOLDER = Path("/run/netns")

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 0x2
NSFS_MAGIC = 0x6E736673  # linux/magic.h

_libc = ctypes.CDLL(None, use_errno=True)


class _Statfs(ctypes.Structure):
    """struct statfs: of which file system a file is."""

    _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def _call(name: str, doing: str, *arguments: object) -> None:
    """Make the system call `name`; raises LtkError with what the kernel said."""
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        if code == errno.EPERM:
            raise MissingError(
                doing, os.strerror(code), hint="Run it as root (CAP_SYS_ADMIN and CAP_NET_ADMIN)."
            )
        raise LtkError(doing, os.strerror(code))


def path(name: str) -> Path:
    """The file that stands for the namespace `name`."""
    return FOLDER / name


def names(prefix: str = "") -> list[str]:
    """The named namespaces of this machine that begin so, sorted; no leftovers without a namespace."""
    if not FOLDER.is_dir():
        return []
    found = (entry.name for entry in FOLDER.iterdir())
    return sorted(name for name in found if name.startswith(prefix) and is_namespace(name))


def debris(prefix: str) -> list[str]:
    """Files that begin with `prefix` and hold no namespace: what a killed `create` leaves."""
    if not FOLDER.is_dir():
        return []
    return sorted(e.name for e in FOLDER.iterdir() if e.name.startswith(prefix) and not is_namespace(e.name))


def is_namespace(name: str) -> bool:
    """Whether `name` stands for a living namespace and is not just a file."""

    found = _Statfs()
    if _libc.statfs(os.fsencode(f"{FOLDER}/{name}"), ctypes.byref(found)) != 0:
        return False
    return bool(found.type == NSFS_MAGIC)


def create(name: str, prepare: Callable[[], None]) -> None:
    """Make the namespace `name`; `prepare` runs inside of it before it gets its name.

    So whatever marks the namespace as ours is there from the first moment at which anybody
    can see it. The calling thread is back in its own namespace afterwards.
    """
    doing = f"creating the namespace {name}"
    _share_folder()
    with _own_namespace_kept(doing):
        _call("unshare", doing, CLONE_NEWNET)
        prepare()
        try:
            descriptor = os.open(path(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        except FileExistsError:
            raise LtkError(doing, f"{path(name)} exists") from None
        os.close(descriptor)
        source = f"/proc/self/task/{_thread_id()}/ns/net"
        try:
            _call("mount", doing, os.fsencode(source), os.fsencode(path(name)), b"none", MS_BIND, None)
        except LtkError:
            path(name).unlink()
            raise


def remove(name: str) -> None:
    """Take the name `name` away; the namespace itself goes when its last process has gone."""
    doing = f"removing the namespace {name}"
    if is_namespace(name):
        _call("umount2", doing, os.fsencode(path(name)), MNT_DETACH)
    path(name).unlink(missing_ok=True)


def enter(name: str) -> None:
    """Move the calling thread into the namespace `name`, or that of an absolute path, for good."""
    doing = f"entering the namespace {name}"
    file = name if name.startswith("/") else f"{FOLDER}/{name}"
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LtkError(doing, "it does not exist") from None
    try:
        _call("setns", doing, descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Run the body with the calling thread in the namespace `name` (None or "": where it already is)."""
    if not name:
        yield
        return
    with _own_namespace_kept(f"entering the namespace {name}"):
        enter(name)
        yield


def enter_with_sysfs(name: str) -> None:
    """Move this process into `name` for good, with a /sys that shows that namespace's devices.

    As `ip netns exec` does: in a mount namespace of its own, so that nobody else's /sys changes.
    """
    doing = f"entering the namespace {name}"
    enter(name)
    _call("unshare", doing, CLONE_NEWNS)
    _call("mount", doing, b"none", b"/", None, MS_REC | MS_SLAVE, None)
    _libc.umount2(b"/sys", MNT_DETACH)  # where /sys was not mounted there is nothing to take away
    _show_devices(doing, name)


def _show_devices(doing: str, name: str) -> None:
    if _libc.mount(name.encode(), b"/sys", b"sysfs", 0, None) != 0:
        code = ctypes.get_errno()
        # in a user namespace the kernel shows no /sys that shows more than the one that there is: in a
        # container parts of that are hidden. Then it stays, and is wrong about devices and nothing else
        if code != errno.EPERM:
            raise LtkError(doing, f"mounting /sys: {os.strerror(code)}")


@contextlib.contextmanager
def throwaway() -> Iterator[None]:
    """Run the body with the calling thread in a fresh namespace without a name, which goes afterwards."""
    doing = "creating a namespace"
    with _own_namespace_kept(doing):
        _call("unshare", doing, CLONE_NEWNET)
        yield


def processes(*names: str) -> list[int]:
    """The process ids that live in the namespaces of these names."""
    wanted = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            wanted.add(path(name).stat().st_ino)
    if not wanted:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                if (entry / "ns" / "net").stat().st_ino in wanted:
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def _own_namespace_kept(doing: str) -> Iterator[None]:
    here = f"/proc/self/task/{_thread_id()}/ns/net"
    own = os.open(here, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            if os.fstat(own).st_ino != Path(here).stat().st_ino:  # it may have failed before it left
                _call("setns", f"{doing}: going back", own, CLONE_NEWNET)
        finally:
            os.close(own)


def _share_folder() -> None:
    """Make /run/netns a mount point whose mounts are seen everywhere, as `ip netns` does."""
    FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    doing = f"preparing {FOLDER}"
    folder = os.fsencode(FOLDER)
    if _libc.mount(b"", folder, b"none", MS_SHARED | MS_REC, None) != 0:
        _call("mount", doing, folder, folder, b"none", MS_BIND | MS_REC, None)
        _call("mount", doing, b"", folder, b"none", MS_SHARED | MS_REC, None)


def _thread_id() -> int:
    return int(_libc.gettid())
