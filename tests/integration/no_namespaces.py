"""`python no_namespaces.py CMD...`: run a command, as root, where nobody may make a user namespace.

In a user namespace in which everybody exists, so that others can be become there, and whose limit is none.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
EVERYBODY = "0 0 65536"


def main() -> None:
    """Make the namespace; a child that stays outside says who exists in it, since only root there may."""
    (asked, ask), (told, tell) = os.pipe(), os.pipe()
    inside = os.getpid()
    if os.fork() == 0:
        os.read(asked, 1)
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{inside}/{kind}").write_text(EVERYBODY)
        os.write(tell, b"!")
        os._exit(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(ask, b"!")
    os.read(told, 1)
    os.wait()
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
