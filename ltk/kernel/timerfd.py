"""A timer as a descriptor, exact to the microsecond where epoll's own timeout counts in milliseconds."""

from __future__ import annotations

import ctypes
import os
import time

from ltk.errors import LtkError

TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC  # timerfd_create(2) has them so
TFD_TIMER_ABSTIME = 1
NANOSECONDS = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Becomes readable at the moment that it is set to, once."""

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        self._descriptor: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._descriptor < 0:
            raise LtkError("making a timer", os.strerror(ctypes.get_errno()))

    def fileno(self) -> int:
        return self._descriptor

    def set(self, when: float | None) -> None:
        """Be readable from `when` (monotonic seconds) on; None: never, until set again."""
        nanoseconds = 0 if when is None else max(1, int(when * NANOSECONDS))  # zero would disarm it
        value = _Timespec(*divmod(nanoseconds, NANOSECONDS))
        specification = _Itimerspec(_Timespec(0, 0), value)
        if _libc.timerfd_settime(self._descriptor, TFD_TIMER_ABSTIME, ctypes.byref(specification), None):
            raise LtkError("setting a timer", os.strerror(ctypes.get_errno()))

    def close(self) -> None:
        os.close(self._descriptor)
