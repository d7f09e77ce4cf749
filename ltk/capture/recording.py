"""Where captured packets go: to a terminal, into a file, or both; and what has been counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import BinaryIO

from ltk import __version__
from ltk.capture import pcapng
from ltk.capture.dissect import dissect
from ltk.capture.expression import Wanted
from ltk.capture.lines import Ended, line
from ltk.capture.record import Captured, Tap
from ltk.kernel.packets import Link, Packet


class Recording:
    """Keeps those packets that are wanted, until there are as many as were asked for."""

    def __init__(
        self,
        taps: Sequence[Tap],
        wanted: Wanted | None,
        file: BinaryIO | None,
        lines: Callable[[str], None] | None,
        count: int | None,
    ) -> None:
        """`wanted` None: all are; `file` is written as pcapng; `lines` is given whole lines of text."""
        self._taps = taps
        self._wanted = wanted
        self._file = file
        self._lines = lines
        self._left = count
        self._heard: Counter[int] = Counter()
        self._kept: Counter[int] = Counter()
        self._width = max(len(tap.name) for tap in taps)
        interfaces = [pcapng.interface(tap.name, tap.link) for tap in taps]
        self._write(pcapng.section(f"ltk {__version__}"), *interfaces)

    def take(self, batch: Sequence[Captured]) -> bool:
        """Keep what is wanted of these packets; return whether more are."""
        blocks, lines = [], []
        for number, packet in batch:
            if self._left == 0:
                break
            tap = self._taps[number]
            self._heard[number] += 1
            seen = dissect(packet.data, ethernet=tap.link is Link.ETHERNET)
            if self._wanted is not None and not self._wanted(seen, packet.outgoing):
                continue
            self._kept[number] += 1
            if self._left is not None:
                self._left -= 1
            if self._lines is not None:
                said = line(tap.name, self._width, packet.time, packet.outgoing, seen, packet.segment)
                lines.append(said + "\n")
            if self._file is not None:
                blocks.append(_block(number, packet))
        self._write(*blocks)
        if self._lines is not None and lines:
            self._lines("".join(lines))
        return self._left != 0

    def end(self) -> Ended:
        """Finish the file; return what was captured and what was missed."""
        dropped = [tap.dropped() for tap in self._taps]
        now = time.time_ns()
        self._write(
            *(
                pcapng.statistics(number, now, self._heard[number], count)
                for number, count in enumerate(dropped)
            )
        )
        names = [tap.name for tap in self._taps]
        return Ended(
            heard={name: self._heard[number] for number, name in enumerate(names)},
            kept={name: self._kept[number] for number, name in enumerate(names)},
            dropped=dict(zip(names, dropped, strict=True)),
            problems={tap.name: tap.problem for tap in self._taps if tap.problem is not None},
        )

    def _write(self, *blocks: bytes) -> None:
        if self._file is not None and blocks:
            self._file.write(b"".join(blocks))
            self._file.flush()  # who reads along sees whole packets, and the file is good at any time


def _block(number: int, packet: Packet) -> bytes:
    comment = f"super-packet with segments of {packet.segment} bytes" if packet.segment else None
    return pcapng.packet(
        number, packet.time, packet.data, packet.length, outgoing=packet.outgoing, comment=comment
    )
