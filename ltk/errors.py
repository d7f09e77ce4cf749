"""What can go wrong, for a person to read and a script to act on.

Every error that reaches a user says what was being done, to which object, what the kernel
(or the file, or the peer) said, and what to do next. The class carries the exit status.
"""

from __future__ import annotations

from typing import ClassVar


class LtkError(Exception):
    """Something failed; the base of everything that ltk raises on purpose.

    `str(error)` is "<doing>: <problem>"; `hint` is what to do next, shown on its own line.
    `retry_can_help` is true where the same call may succeed later without any change.
    """

    exit_status: ClassVar[int] = 1
    retry_can_help: ClassVar[bool] = False

    def __init__(self, doing: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{doing}: {problem}")
        self.doing = doing
        self.problem = problem
        self.hint = hint


class ChangedError(LtkError):
    """What is there is not what a saved plan was made for; nothing was changed."""

    exit_status = 2


class InvalidInputError(LtkError):
    """The file or the arguments are invalid; nothing was changed."""

    exit_status = 3


class InTheWayError(LtkError):
    """Something that ltk did not make stands where ltk would have to write."""

    exit_status = 4


class RolledBackError(LtkError):
    """The change failed, and what had been done of it was undone."""

    exit_status = 5


class MissingError(LtkError):
    """A privilege, a program or a kernel feature is missing."""

    exit_status = 6


class BusyError(LtkError):
    """Another ltk is at work on this topology."""

    exit_status = 7
    retry_can_help = True
