"""The process that carries a lab's wires: reads frames at one TAP, writes them to the other when due.

Decides nothing about a frame: `ltk.lab.wire` does. One process has all wires of a lab, one epoll and
one timer, and sleeps while nothing is on its way. A device that is down or gone is no reason to end:
frames for it are dropped and counted until `ltk apply` has put it right.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from ltk.errors import InvalidInputError, LtkError
from ltk.kernel import netns, tap
from ltk.kernel.timerfd import Timer
from ltk.lab import conditions
from ltk.lab.conditions import Span, Tap
from ltk.lab.wire import Direction, InFlight, takes_bursts
from ltk.node.control import Answer, ControlServer, Request
from ltk.node.log import say
from ltk.node.notify import READY, STOPPING, Notifier
from ltk.node.poller import BROKEN, IN, Poller, Signals

BUDGET = 64  # frames read from one device before the others, and what is due, get their turn
FLUSH_TIME = 0.2  # seconds that the last answers get at the end


def run(config: Path, control: Path, notifier: Notifier) -> None:
    """Carry the wires of the document `config` until SIGTERM, SIGINT or a `stop` request.

    Listens on `control` for changes. Raises LtkError when it cannot start. Main thread only.
    """
    doing = f"reading {config}"
    try:
        spans = conditions.from_json(json.loads(config.read_text()), doing)
    except (OSError, ValueError) as error:
        raise InvalidInputError(doing, str(error)) from None
    process = WireProcess(control)
    try:
        for problem in process.carry(spans):
            say("warning", str(problem))
        say("info", f"carrying wires: {len(spans)}")
        notifier.tell(READY)
        process.run()
        notifier.tell(STOPPING)
    finally:
        process.close()


class End:
    """One TAP device: frames that are read from it go `onward`, to the end at the other side."""

    __slots__ = ("_inode", "descriptor", "onward", "place", "undelivered")

    def __init__(self, place: Tap, onward: Direction) -> None:
        self.place = place
        self.onward = onward
        self.descriptor = -1
        self.undelivered = 0  # frames that this device did not take
        self._inode = 0

    def is_attached(self) -> bool:
        """Whether the device is held, and is still in the namespace that has its name now."""
        try:
            return self.descriptor >= 0 and netns.path(self.place.scope).stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def attach(self) -> None:
        """Take hold of the device; raises LtkError where that cannot be done."""
        self.descriptor = tap.attach(self.place.scope, self.place.device)
        self._inode = netns.path(self.place.scope).stat().st_ino


class Wire:
    """Two ends and the two directions between them."""

    __slots__ = ("ends", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        there, back = Direction(span.conditions, "a to b"), Direction(span.conditions, "b to a")
        self.ends = (End(span.a, there), End(span.b, back))

    def change(self, span: Span) -> None:
        """Have other conditions; what is on its way stays on it."""
        self.span = span
        for end in self.ends:
            end.onward.change(span.conditions)

    def use_offloads(self) -> None:
        """Let bursts pass whole, unless that would show in what packets meet."""
        wanted = takes_bursts(self.span.conditions)
        for end in self.ends:
            if end.descriptor >= 0:
                tap.set_offloads(end.descriptor, wanted=wanted)

    def report(self) -> dict[str, object]:
        """What `status` tells about it."""
        (document,) = conditions.to_json([self.span])["wires"]
        return {
            **document,
            "carried": all(end.is_attached() for end in self.ends),
            "directions": [
                {
                    "from": end.place.device,
                    "frames": end.onward.carried,
                    "lost": end.onward.lost,
                    "reordered": end.onward.reordered,
                    "doubled": end.onward.doubled,
                    "overflowed": end.onward.overflowed,
                    "undelivered": other.undelivered,
                }
                for end, other in (self.ends, self.ends[::-1])
            ],
        }


class WireProcess:
    """All wires of a lab at work."""

    def __init__(self, control: Path) -> None:
        self._poller = Poller()
        self._wires: dict[tuple[Tap, Tap], Wire] = {}
        self._targets: dict[Direction, End] = {}
        self._in_flight = InFlight()
        self._timer = Timer()
        self._timer_at: float | None = None
        self._poller.watch(self._timer.fileno(), IN, lambda _: self._deliver())
        self._control = ControlServer(control, self._poller, self._handle)
        self._signals = Signals(self._poller, (signal.SIGTERM, signal.SIGINT), lambda _: self._stop())
        self._stopping = False

    def run(self) -> None:
        """Carry frames until told to stop."""
        while not self._stopping:
            self._poller.wait()

    def close(self) -> None:
        """Give everything back; the devices stay."""
        self._control.flush(time.monotonic() + FLUSH_TIME)
        self._control.close()
        self._signals.close()
        for wire in self._wires.values():
            self._drop(wire)
        self._poller.close()
        self._timer.close()

    def carry(self, spans: Iterable[Span]) -> list[LtkError]:
        """Carry these wires and no others; returns what went wrong, wire by wire.

        A wire that is carried already keeps its devices and what is on its way.
        """
        wanted: Mapping[tuple[Tap, Tap], Span] = {span.ends: span for span in spans}
        for ends in self._wires.keys() - wanted.keys():
            self._drop(self._wires.pop(ends))
        problems = []
        for ends, span in wanted.items():
            if ends in self._wires:
                self._wires[ends].change(span)
            else:
                self._add(span)
            try:
                self._attach(self._wires[ends])
            except LtkError as error:
                problems.append(error)
        return problems

    def _add(self, span: Span) -> None:
        wire = self._wires[span.ends] = Wire(span)
        for end, other in (wire.ends, wire.ends[::-1]):
            self._targets[end.onward] = other

    def _attach(self, wire: Wire) -> None:
        for end in wire.ends:
            if not end.is_attached():
                self._detach(end)
                end.attach()
                self._poller.watch(end.descriptor, IN, partial(self._read, end))
        wire.use_offloads()

    def _drop(self, wire: Wire) -> None:
        for end in wire.ends:
            self._detach(end)
            del self._targets[end.onward]

    def _detach(self, end: End) -> None:
        if end.descriptor >= 0:
            self._poller.forget(end.descriptor)
            os.close(end.descriptor)
            end.descriptor = -1

    def _read(self, end: End, mask: int) -> None:
        """Let in what the device has, and write what has become due meanwhile."""
        if mask & BROKEN:
            self._lose(end)
            return
        now = time.monotonic()
        add, onward, descriptor = self._in_flight.add, end.onward, end.descriptor
        try:
            for _ in range(BUDGET):
                add(onward, os.read(descriptor, tap.MAX_FRAME), now)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in tap.GONE:
                self._lose(end)
        self._deliver()

    def _deliver(self) -> None:
        """Write what has arrived, and set the timer to what arrives next."""
        for direction, frame in self._in_flight.arrived(time.monotonic()):
            target = self._targets.get(direction)
            if target is not None:  # else its wire has been taken away
                self._write(target, frame)
        due = self._in_flight.next_arrival()
        if due != self._timer_at:
            self._timer.set(due)
            self._timer_at = due

    def _write(self, end: End, frame: bytes) -> None:
        try:
            os.write(end.descriptor, frame)
        except OSError as error:
            end.undelivered += 1
            if error.errno in tap.GONE:
                self._lose(end)

    def _lose(self, end: End) -> None:
        say("warning", f"the device {end.place.device} in {end.place.scope} has gone")
        self._detach(end)

    def _handle(self, request: Request, answer: Answer) -> None:
        match request:
            case {"do": "status"}:
                wires = [wire.report() for wire in self._wires.values()]
                answer({"pid": os.getpid(), "in_flight": len(self._in_flight), "wires": wires})
            case {"do": "configure", "config": value}:
                for problem in self.carry(conditions.from_json(value, "configuring the wires")):
                    raise problem
                answer({})
            case {"do": "stop"}:
                self._stop()
                answer({})
            case _:
                raise InvalidInputError(
                    "reading a request", "it is none of status, configure (with a config) and stop"
                )

    def _stop(self) -> None:
        self._stopping = True
