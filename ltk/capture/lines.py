"""Captured packets as lines of text, and what there is to say at the end. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ltk.capture.dissect import Seen
from ltk.capture.words import phrase

NANOSECONDS = 1_000_000_000  # in a second


def line(place: str, width: int, stamp: int, outgoing: bool, seen: Seen, segment: int) -> str:
    """One packet: local time to the microsecond, where it was and which way it went, its ends, what it is.

    `stamp` is in nanoseconds since 1970, `place` is set into `width` columns.
    """
    return f"{_front(place, width, stamp, outgoing)} {_what(seen, segment)}"


def inner_line(place: str, width: int, stamp: int, outgoing: bool, what: Seen | str) -> str:
    """What was inside of the packet of the line above: a packet's headers, or a phrase."""
    said = what if isinstance(what, str) else _what(what)
    return f"{_front(place, width, stamp, outgoing)}   inside: {said}"


def _front(place: str, width: int, stamp: int, outgoing: bool) -> str:
    seconds, nanoseconds = divmod(stamp, NANOSECONDS)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{nanoseconds // 1000:06}"
    return f"{clock} {place:{width}} {'out' if outgoing else 'in '}"


def _what(seen: Seen, segment: int = 0) -> str:
    source, target = seen.ends
    return f"{source} > {target}  {phrase(seen, segment)}"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a capture, by the names of its devices in their order."""

    heard: Mapping[str, int]  # packets that were read
    kept: Mapping[str, int]  # those that the filter let through
    dropped: Mapping[str, int]  # packets that passed and for which the capture had no room
    problems: Mapping[str, str]  # what the kernel said of devices that went down or away
    opened: int | None = None  # data messages that were looked into; None: nobody asked for that
    sealed: int = 0  # those of which no daemon that was asked has the key
    silent: Sequence[str] = ()  # why daemons have not told their keys

    def sentences(self) -> Sequence[str]:
        """What to tell a person."""
        kept, heard = sum(self.kept.values()), sum(self.heard.values())
        by_device = ", ".join(f"{count} at {name}" for name, count in self.kept.items())
        of_these = "" if kept == heard else f" of {heard}"
        found = [f"captured {kept}{of_these} packets: {by_device}"]
        found += [f"{name}: {problem}" for name, problem in self.problems.items()]
        missed = ", ".join(f"{count} at {name}" for name, count in self.dropped.items() if count)
        if missed:
            found.append(f"missed {missed}: they came faster than they could be taken")
        if self.opened is not None:
            found.append(f"opened {self.opened} data messages; {self.sealed} are of sessions of others")
        found += self.silent
        return found
