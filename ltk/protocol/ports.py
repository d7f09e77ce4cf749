"""Which ports a NAT chooses: questions to the server from fresh sockets, and what the answers show.

A NAT that chooses a port for each destination is **sequential** where every new mapping gets the next port,
by a step that is always the same. Four mappings that are made one after the other show it: two fresh sockets
ask the two STUN ports of the server. Where other hosts take ports in between, some of the steps are larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import inf

from ltk.protocol import stun
from ltk.protocol.drops import Drop
from ltk.protocol.messages import Endpoint
from ltk.protocol.outbox import Outbox
from ltk.protocol.sockets import Held, Sockets
from ltk.protocol.timers import Timer, TimerQueue, Timers

MAX_STEP = 15  # what fits into a frame; NATs are known to step by 1 and 2
FAR = 64  # ports; two mappings made one after the other that are further apart are not in sequence
LOOK_SOCKETS = 2
ASK_EVERY = 0.25  # seconds until what is not answered is asked again, by the mapping that there is then
ASKS = 4
LOOKS = 4  # with fresh sockets


def step_of(ports: Sequence[int]) -> int:
    """Return by which step these ports follow each other, in the order of being chosen; 0 for none.

    The smallest step counts, where it has been seen twice.
    """
    steps = [later - earlier for earlier, later in pairwise(ports)]
    if not steps or not all(0 < step <= FAR for step in steps):
        return 0
    smallest = min(steps)
    return smallest if steps.count(smallest) > 1 and smallest <= MAX_STEP else 0


class Questions:
    """STUN requests from sockets beside the main one: one for each socket and port of the server."""

    __slots__ = ("_outbox", "_pending", "_random")

    def __init__(self, outbox: Outbox, random: Callable[[int], bytes]) -> None:
        self._outbox = outbox
        self._random = random
        self._pending: dict[Endpoint, tuple[bytes, Callable[[Endpoint, float], None]]] = {}

    def ask(self, to: Endpoint, heard: Callable[[Endpoint, float], None]) -> None:
        """Ask at `to` how its socket is seen, or ask the same once more; `heard(endpoint, now)` is told."""
        transaction, _ = self._pending.get(to, (b"", heard))
        transaction = transaction or self._random(stun.TRANSACTION_SIZE)
        self._pending[to] = transaction, heard
        self._outbox.send(stun.binding_request(transaction), to)

    def answered(self, message: memoryview, source: Endpoint, now: float) -> Drop | None:
        """Take an answer."""
        transaction, heard = self._pending.get(source, (b"", None))
        mapped = stun.mapped_address(message, transaction) if heard is not None else None
        if heard is None or mapped is None:
            return Drop.UNASKED_STUN
        del self._pending[source]
        heard(mapped, now)
        return None

    def forget(self, socket: int) -> None:
        """Expect no answer there any more."""
        self._pending = {to: asked for to, asked in self._pending.items() if to.socket != socket}


class StepFinder:
    """Looks once for the step of a NAT that maps by destination, and says what it has found."""

    __slots__ = (
        "_asked",
        "_asks",
        "_found",
        "_held",
        "_looks",
        "_ports",
        "_questions",
        "_targets",
        "_timers",
    )

    def __init__(
        self,
        questions: Questions,
        sockets: Sockets,
        queue: TimerQueue,
        found: Callable[[int, float], None],
    ) -> None:
        """`found(step, now)` is told once for each `look`; 0 where there is none, or no answer."""
        self._questions = questions
        self._held = Held(sockets)
        self._timers = Timers(queue, self._on_timer)
        self._found = found
        self._targets: tuple[Endpoint, ...] = ()
        self._asked: list[Endpoint] = []
        self._asks = 0
        self._ports: dict[Endpoint, int] = {}
        self._looks = 0

    def look(self, targets: tuple[Endpoint, ...], now: float) -> None:
        """Find out by asking at `targets`, the STUN ports of one server."""
        self.stop()
        self._targets = targets
        self._look(now)

    def stop(self) -> None:
        """Ask nothing more."""
        self._close()
        self._looks = 0
        self._timers.disarm_all()

    def _look(self, now: float) -> None:
        self._close()
        self._looks += 1
        self._ports = {}
        opened = [number for _ in range(LOOK_SOCKETS) if (number := self._held.open()) is not None]
        self._asked = [target._replace(socket=number) for number in opened for target in self._targets]
        self._asks = 0
        self._ask(now)

    def _ask(self, now: float) -> None:
        self._asks += 1
        for to in self._asked:
            if to not in self._ports:
                self._questions.ask(to, partial(self._heard, to))
        self._timers.arm(Timer.LOOK_FOR_STEP, now + ASK_EVERY)

    def _heard(self, to: Endpoint, mapped: Endpoint, now: float) -> None:
        self._ports[to] = mapped.port
        if len(self._ports) == len(self._asked):
            self._conclude(step_of([self._ports[each] for each in self._asked]), now)

    def _conclude(self, step: int, now: float) -> None:
        self.stop()
        self._found(step, now)

    def _close(self) -> None:
        for number in self._held.tidy(0, inf):
            self._questions.forget(number)

    def _on_timer(self, _timer: Timer, now: float) -> None:
        if self._asks < ASKS:
            self._ask(now)
        elif self._looks < LOOKS:
            self._look(now)
        else:
            self._conclude(0, now)
