"""That entries of folders have come, gone or changed: inotify(7)."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from ltk.errors import LtkError

IN_ATTRIB, IN_CLOSE_WRITE = 0x4, 0x8  # linux/inotify.h
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF = 0x400, 0x800
IN_Q_OVERFLOW, IN_IGNORED = 0x4000, 0x8000
IN_ONLYDIR = 0x01000000
ENTRIES = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
CONTENTS = IN_ATTRIB | IN_CLOSE_WRITE
EVENT = struct.Struct("=iIII")  # struct inotify_event: watch, mask, cookie, length of the name
READ = 1 << 16  # bytes

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an entry of `folder`; without a name to the folder itself, or nobody knows what."""

    folder: Path | None
    name: str


class Folders:
    """Watches the folders that it is told to, until it is closed."""

    def __init__(self) -> None:
        self._descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise LtkError("watching files", os.strerror(ctypes.get_errno()))
        self._folders: dict[int, Path] = {}

    def fileno(self) -> int:
        """The descriptor, readable when there is something to `read`."""
        return self._descriptor

    def watch(self, folder: Path, *, contents: bool = False) -> None:
        """Watch a folder for entries that come and go, with `contents` for such that are written as well.

        May be said again at any time. A folder that does not exist is left out: say so again when it does.
        """
        mask = ENTRIES | IN_ONLYDIR | (CONTENTS if contents else 0)
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        if number >= 0:
            self._folders[number] = folder

    def read(self) -> list[Change]:
        """What has happened since the last time, without waiting."""
        found = []
        try:
            data = os.read(self._descriptor, READ)
        except BlockingIOError:
            return []
        offset = 0
        while offset + EVENT.size <= len(data):
            number, mask, _cookie, length = EVENT.unpack_from(data, offset)
            offset += EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & IN_IGNORED:
                self._folders.pop(number, None)
            else:
                found.append(Change(self._folders.get(number), name))
        return found

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._descriptor)
