"""What a daemon may do beyond what anybody may: next to nothing, although it runs as root.

It keeps two capabilities (capabilities(7)). CAP_NET_ADMIN: to attach to its TUN device again, to mark
what it sends, and for receive buffers above the system's limit. CAP_NET_BIND_SERVICE: for a port below
1024, which a new configuration may name. Its files are root's, as it is, so that nothing is needed to read
keys; nor is anything to send packets (no CAP_NET_RAW), to see other processes, or to load a module.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from ltk.errors import LtkError

NET_BIND_SERVICE, NET_ADMIN = 10, 12  # linux/capability.h
KEPT = 1 << NET_BIND_SERVICE | 1 << NET_ADMIN
HIGHEST = 63  # capabilities that a process can have

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38  # linux/prctl.h
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
HEADER = struct.Struct("=Ii")  # version, process (0: this one)
SETS = struct.Struct("=6I")  # effective, permitted, inheritable: the low words, then the high ones

_libc = ctypes.CDLL(None, use_errno=True)


def drop() -> None:
    """Give up everything but `KEPT`, in this thread and in all that it starts, and for good.

    What the process does not have it does not get. Raises LtkError where the kernel refuses.
    """
    for capability in range(HIGHEST + 1):
        if not KEPT >> capability & 1 and _libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0, tolerated=errno.EPERM)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, tolerated=errno.EINVAL)
    header = HEADER.pack(VERSION_3, 0)
    had = ctypes.create_string_buffer(SETS.size)
    _call("capget", header, had)
    _, permitted, *_ = SETS.unpack(had.raw)
    left = permitted & KEPT
    _call("capset", header, SETS.pack(left, left, 0, 0, 0, 0))
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _call(name: str, *arguments: object, tolerated: int = 0) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        if code != tolerated:
            raise LtkError("giving up privileges", f"{name}: {os.strerror(code)}")
