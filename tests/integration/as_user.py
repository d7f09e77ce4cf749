"""`python as_user.py UID FOLDER... -- CMD...`: be an ordinary user, without groups and without privilege.

Where the interpreter or the sources stand in a folder of root's, in which nobody else may look, that folder
is covered for this command alone, and shows nothing but the FOLDERs that are needed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    done = _libc.mount(
        source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode()
    )
    if done != 0:
        raise OSError(ctypes.get_errno(), f"mounting {target}")


def closed(folder: Path) -> Path | None:
    """The first folder on the way to `folder` that others may not pass."""
    way = [*reversed(folder.parents), folder]
    return next((each for each in way if not each.stat().st_mode & 0o001), None)


def open_up(folders: list[str]) -> None:
    """Make the folders, and what they are links to, reachable for everybody in this mount namespace."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, MS_REC | MS_SLAVE)
    needed = {Path(folder).resolve() for folder in folders}
    covers = {cover for folder in needed if (cover := closed(folder))}
    hidden = [folder for folder in sorted(needed) if any(cover in folder.parents for cover in covers)]
    kept = {folder: os.open(folder, os.O_PATH) for folder in hidden}
    for cover in covers:
        mount("none", str(cover), "tmpfs", 0, "mode=755")
    for folder, descriptor in kept.items():
        folder.mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{descriptor}", str(folder), None, MS_BIND | MS_REC)
        os.close(descriptor)


def main() -> None:
    """Become the user, then the command."""
    split = sys.argv.index("--")
    user, folders, words = int(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1 :]
    open_up(folders)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
