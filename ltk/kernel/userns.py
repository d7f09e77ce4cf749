"""User namespaces: what lets an ordinary user be root over namespaces of their own, and over nothing else.

In a user namespace the one user who made it is root (user_namespaces(7)): over the network and mount
namespaces that belong to it, and over no file, device or network of the machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from ltk.errors import InvalidInputError, LtkError, MissingError
from ltk.kernel import sysctl

CLONE_NEWNS = 0x00020000  # linux/sched.h, as the next two
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV = 0x2, 0x4
OPEN_TREE, MOVE_MOUNT = 428, 429  # system calls, of the same number on every kind of machine
OPEN_TREE_CLONE, AT_RECURSIVE, MOVE_MOUNT_F_EMPTY_PATH = 0x1, 0x8000, 0x4  # linux/mount.h, linux/fcntl.h
AT_FDCWD = -100
BELOW = ".machine"  # in a covered folder: what the machine has there

WHOLE_RANGE = 2**32 - 1  # user ids; what the first user namespace maps
UNREADABLE = "?"  # as AppArmor's setting is for all but root; its default is to restrict
FILTERED = "Seccomp:\t2"  # in /proc/self/status: a filter decides about system calls

LIMIT = "user.max_user_namespaces"
CLONE_ALLOWED = "kernel.unprivileged_userns_clone"  # Debian's and Arch's kernels
APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"  # Ubuntu's

_libc = ctypes.CDLL(None, use_errno=True)


def make() -> None:
    """Move this process into user, mount and network namespaces of its own, in which its user is root.

    For a process with one thread. Raises MissingError with what the machine has to allow.
    """
    user, group = os.geteuid(), os.getegid()
    _call("unshare", "making a user namespace", CLONE_NEWUSER)
    # who may not give up groups cannot get at what a group is denied (user_namespaces(7))
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        try:
            Path(f"/proc/self/{file}").write_text(text)
        except OSError as error:
            raise refusal("becoming root in a user namespace", error.errno or 0) from None
    _call("unshare", "making namespaces as root of a user namespace", CLONE_NEWNS | CLONE_NEWNET)


def join(process: int, *, network: bool) -> None:
    """Move this process into the user and mount namespaces, and the network, of the one that the pidfd
    `process` stands for; in the same folder as before. Raises LtkError, and InvalidInputError where that is
    not there; for a process with one thread."""
    here = Path.cwd()
    kinds = CLONE_NEWUSER | CLONE_NEWNS | (CLONE_NEWNET if network else 0)
    _call("setns", "entering the user's own namespaces", process, kinds)
    try:
        os.chdir(here)
    except FileNotFoundError:
        problem = "it is not there in the user's own namespaces, or was made when these were there already"
        raise InvalidInputError(f"going on in {here}", problem, hint="Run this in another folder.") from None


def cover(folder: str, *hidden: str) -> None:
    """Make `folder` writeable in this mount namespace: a file system in memory, through which all can be
    seen that the machine has there, now and later mounted, but for the names `hidden`."""
    doing = f"covering {folder}"
    names = [entry.name for entry in Path(folder).iterdir()]
    # a copy of what is mounted from there on, taken before it is covered: what covers it would be part of it
    tree = OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    below = _system_call(doing, OPEN_TREE, AT_FDCWD, os.fsencode(folder), tree)
    try:
        _mount(doing, "tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        shown = Path(folder) / BELOW
        shown.mkdir(mode=0o755)
        place = os.fsencode(shown)
        _system_call(doing, MOVE_MOUNT, below, b"", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(below)
    for name in names:
        if name not in hidden:
            (Path(folder) / name).symlink_to(f"{BELOW}/{name}")


def show_own_devices() -> None:
    """Have /sys show the devices of this network namespace; where that may not be, it stays as it was."""
    _libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None)


def owner() -> int | None:
    """The user who is root in this user namespace; None where that is the machine's own root."""
    inside, outside, count = map(int, Path("/proc/self/uid_map").read_text().splitlines()[0].split())
    return None if (inside, outside, count) == (0, 0, WHOLE_RANGE) else outside


def refusal(doing: str, code: int) -> MissingError:
    """What the kernel's `code` means for an ordinary user, with exactly what has to be allowed."""
    said = os.strerror(code)
    limit = _setting(LIMIT)
    if code == errno.ENOSPC or limit == "0":
        problem = f"{said}: no more user namespaces are allowed here ({LIMIT} is {limit})"
        return MissingError(doing, problem, hint=f"As root: sysctl -w {LIMIT}=10000. Or run ltk as root.")
    if _setting(CLONE_ALLOWED) == "0":
        problem = f"{said}: this machine lets nobody but root make user namespaces"
        return MissingError(doing, problem, hint=f"As root: sysctl -w {CLONE_ALLOWED}=1. Or run ltk as root.")
    if _setting(APPARMOR) in ("1", UNREADABLE):
        problem = f"{said}: AppArmor restricts user namespaces here"
        program = Path(sys.executable).resolve()
        return MissingError(
            doing,
            problem,
            hint=f"As root, for every program: sysctl -w {APPARMOR}=0. For this Python alone: put\n"
            f"    abi <abi/4.0>, profile ltk {program} flags=(unconfined) {{ userns, }}\n"
            "  into /etc/apparmor.d/ltk, then: apparmor_parser -r /etc/apparmor.d/ltk. Or run ltk as root.",
        )
    if code in (errno.EINVAL, errno.ENOSYS):
        hint = "The kernel needs CONFIG_USER_NS. Or run ltk as root."
        return MissingError(doing, f"{said}: this kernel has no user namespaces", hint=hint)
    if _is_filtered():
        hint = (
            "In a container: give it a seccomp profile that permits unshare, setns and mount for everybody, "
            "or run ltk as root in it, with CAP_SYS_ADMIN and CAP_NET_ADMIN."
        )
        return MissingError(doing, f"{said}: a filter of system calls (seccomp) may forbid it", hint=hint)
    hint = "Not from inside of a chroot, and where a security module forbids it neither. Or run ltk as root."
    return MissingError(doing, said, hint=hint)


def _setting(key: str) -> str | None:
    try:
        return sysctl.read(key)
    except PermissionError:
        return UNREADABLE


def _is_filtered() -> bool:
    return FILTERED in Path("/proc/self/status").read_text()


def _mount(doing: str, source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    type_ = kind.encode() if kind else None
    _call("mount", doing, os.fsencode(source), os.fsencode(target), type_, flags, options.encode())


def _call(name: str, doing: str, *arguments: object) -> None:
    """Make the system call `name`; raises MissingError where it is not permitted, LtkError otherwise."""
    if getattr(_libc, name)(*arguments) != 0:
        raise _failure(name, doing)


def _system_call(doing: str, number: int, *arguments: int | bytes) -> int:
    """The same of one that the C library may not know by name; returns what it returns."""
    given = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    result = int(_libc.syscall(ctypes.c_long(number), *given))
    if result < 0:
        raise _failure("syscall", doing)
    return result


def _failure(name: str, doing: str) -> LtkError:
    code = ctypes.get_errno()
    if name == "setns" and code == errno.EINVAL:
        hint = "ltk moves before it starts any; in a program of your own, use it before you do."
        return LtkError(doing, "this process has several threads", hint=hint)
    if code in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS, errno.EUSERS):
        return refusal(doing, code)
    return LtkError(doing, os.strerror(code))
