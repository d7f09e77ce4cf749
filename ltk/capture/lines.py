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
    seconds, nanoseconds = divmod(stamp, NANOSECONDS)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{nanoseconds // 1000:06}"
    source, target = seen.ends
    way = "out" if outgoing else "in "
    return f"{clock} {place:{width}} {way} {source} > {target}  {phrase(seen, segment)}"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a capture, by the names of its devices in their order."""

    heard: Mapping[str, int]  # packets that were read
    kept: Mapping[str, int]  # those that the filter let through
    dropped: Mapping[str, int]  # packets that passed and for which the capture had no room
    problems: Mapping[str, str]  # what the kernel said of devices that went down or away

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
        return found
