"""Where captured packets go: to a terminal, into a file, or both; and what has been counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from ltk import __version__
from ltk.capture import pcapng
from ltk.capture.dissect import Seen, dissect
from ltk.capture.expression import Wanted
from ltk.capture.inside import Inside, look_inside
from ltk.capture.keys import Ring
from ltk.capture.lines import Ended, inner_line, line
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
        rings: Sequence[Ring] | None = None,
    ) -> None:
        """`wanted` None: all are; `file` is written as pcapng; `lines` is given whole lines of text.

        With `rings`, one for each tap, data messages are opened: what is inside of one is shown below it, and
        is in the file right behind it, as a packet of an interface of its own. Either may be wanted.
        """
        self._taps = taps
        self._wanted = wanted
        self._file = file
        self._lines = lines
        self._left = count
        self._heard: Counter[int] = Counter()
        self._kept: Counter[int] = Counter()
        self._rings = rings
        self._opened = self._sealed = 0
        self._inner: Counter[int] = Counter()  # packets that were inside
        self._width = max(len(tap.name) for tap in taps)
        interfaces = [pcapng.interface(tap.name, tap.link) for tap in taps]
        if rings is not None:
            interfaces += [pcapng.interface(f"{tap.name} inside", Link.IP) for tap in taps]
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
            inside = self._look_inside(number, packet, seen)
            if not self._is_wanted(packet, seen, inside):
                continue
            self._kept[number] += 1
            if self._left is not None:
                self._left -= 1
            if self._lines is not None:
                said = line(tap.name, self._width, packet.time, packet.outgoing, seen, packet.segment)
                lines.append(said + "\n")
                lines += [said + "\n" for said in self._inner_lines(tap.name, packet, inside)]
            if self._file is not None:
                blocks.append(_block(number, packet))
                blocks += self._inner_blocks(number, packet, inside)
        self._write(*blocks)
        if self._lines is not None and lines:
            self._lines("".join(lines))
        return self._left != 0

    def _look_inside(self, number: int, packet: Packet, seen: Seen) -> list[Inside]:
        if self._rings is None:
            return []
        found = list(look_inside(seen, packet.segment, self._rings[number]))
        sealed = sum(each.is_sealed for each in found)
        self._sealed += sealed
        self._opened += len(found) - sealed
        return [each for each in found if not each.is_sealed]

    def _is_wanted(self, packet: Packet, seen: Seen, inside: Sequence[Inside]) -> bool:
        if self._wanted is None or self._wanted(seen, packet.outgoing):
            return True
        packets = (dissect(each.packet, ethernet=False) for each in inside if each.packet is not None)
        return any(self._wanted(each, packet.outgoing) for each in packets)

    def _inner_lines(self, place: str, packet: Packet, inside: Sequence[Inside]) -> Iterator[str]:
        for each in inside:
            what = each.frame if each.packet is None else dissect(each.packet, ethernet=False)
            if what is not None:
                yield inner_line(place, self._width, packet.time, packet.outgoing, what)

    def _inner_blocks(self, number: int, packet: Packet, inside: Sequence[Inside]) -> Iterator[bytes]:
        """What is no IP packet has no place in a capture file."""
        for each in inside:
            if each.packet is not None:
                self._inner[number] += 1
                yield pcapng.packet(
                    len(self._taps) + number,
                    packet.time,
                    each.packet,
                    len(each.packet),
                    outgoing=packet.outgoing,
                    comment=f"inside of data to {each.receiver:#010x}, counter {each.counter}",
                )

    def end(self) -> Ended:
        """Finish the file; return what was captured and what was missed."""
        dropped = [tap.dropped() for tap in self._taps]
        now = time.time_ns()
        counts = [(self._heard[number], count) for number, count in enumerate(dropped)]
        if self._rings is not None:
            counts += [(self._inner[number], 0) for number in range(len(self._taps))]
        self._write(*(pcapng.statistics(number, now, *each) for number, each in enumerate(counts)))
        names = [tap.name for tap in self._taps]
        return Ended(
            heard={name: self._heard[number] for number, name in enumerate(names)},
            kept={name: self._kept[number] for number, name in enumerate(names)},
            dropped=dict(zip(names, dropped, strict=True)),
            problems={tap.name: tap.problem for tap in self._taps if tap.problem is not None},
            opened=None if self._rings is None else self._opened,
            sealed=self._sealed,
            silent=self._silent(),
        )

    def _silent(self) -> list[str]:
        nodes = {node.node: node for ring in self._rings or () for node in ring.nodes}
        return [node.problem for node in nodes.values() if node.problem is not None]

    def _write(self, *blocks: bytes) -> None:
        if self._file is not None and blocks:
            self._file.write(b"".join(blocks))
            self._file.flush()  # who reads along sees whole packets, and the file is good at any time


def _block(number: int, packet: Packet) -> bytes:
    comment = f"super-packet with segments of {packet.segment} bytes" if packet.segment else None
    return pcapng.packet(
        number, packet.time, packet.data, packet.length, outgoing=packet.outgoing, comment=comment
    )
