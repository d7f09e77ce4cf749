"""Beyond plain probing: ports that nobody can be told, and mappings that are spoiled.

A NAT that maps by destination shows each peer another port, which it chooses when the first datagram leaves.
Towards a side that lets in only what it has sent to, exactly, that port must be known beforehand or be found:

    **prediction**  Its ports come in sequence. From a fresh socket it asks the server how it is seen, tells
                the other side (EXPECT, in their session), and sends from that socket: the port is the next
                one, or one of the next, which the other side probes. Where both sides are so, each port of
                the one leads to a port of its own of the other: they draw lines that cross, see `ascending`.
    **birthday**  Its ports are random. It opens 256 sockets, each of which sends one probe to where the other
                side is seen, and says so. The other side probes 1024 ports at random: of 64512 ports, none of
                these hits one of those in (1 - 256/64512)^1024 = 1.7 % of all rounds.
    **fresh socket**  Neither side maps by destination, and still no probe was answered: a router may have
                taken what came too early for itself. A new socket has a mapping that nothing has spoiled.

Nothing of this proves anything. Whatever arrives makes its source a candidate like any other, which is
probed. Each is bounded: one method in an attempt, one round of the birthday search at a time on a node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from math import inf

from ltk.protocol.config import HardNat
from ltk.protocol.drops import Drop
from ltk.protocol.frames import CHALLENGE_SIZE, CandidateKind, Expect, Nat, NatMapping, PortRule
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint
from ltk.protocol.sockets import Held
from ltk.protocol.surroundings import Carrier

START_AFTER = 0.4  # seconds of plain probing, which is enough for most; the NAT has been looked at by then
BIRTHDAY_AFTER = 0.8  # seconds; it costs most
ASK_EVERY = 0.25  # seconds until a question to the server, or an EXPECT, is repeated
REPEATS = 4

SOCKETS = 256  # of a round of the birthday search
PROBES = 1024  # of the other side
FIRST_PORT, PORTS = 1024, 64512  # a NAT chooses none of the well-known ones (RFC 4787, REQ-3)
EVERY = 0.020  # seconds between two bunches
SOCKETS_AT_ONCE = 32
PROBES_AT_ONCE = 16
BEHIND = 4  # bunches that leave together where the machine comes late; what is later still takes its time
ROUND_TIME = 6.0  # seconds from the word that sockets are open, in which all probes leave and are answered
ANSWERED_IN = 1.0  # seconds; a probe's answer, and that of the path which it makes known

WINDOW = 32  # ports that are probed where the next one is expected
LINE = 32  # as many where both sides are in sequence,
HALF = 13  # in two halves the other way: lines cross as long as others take less than that many ports
ROUNDS = 2  # of them: the first opens what lets the second in
ROUND_EVERY = 0.2  # seconds

_EARLY_HOPS = 2  # of the birthday search every other time: nothing reaches the other side's router unasked


class Method(StrEnum):
    """What an attempt does."""

    PLAIN = "plain"
    PREDICTION = "port prediction"
    BIRTHDAY = "birthday"
    FRESH = "fresh socket"


def choose(own: Nat, theirs: Nat, allowed: HardNat, failures: int) -> Method:
    """Return what this side begins in an attempt, after so many that were in vain; its answers are apart."""
    if not own.is_hard:
        return Method.FRESH if failures and not theirs.is_hard else Method.PLAIN
    if theirs.is_hard:
        both = own.step and theirs.step and allowed is not HardNat.OFF
        return Method.PREDICTION if both else Method.PLAIN
    # Ports in sequence may be taken by others faster than they are told: then it is chance that helps.
    if own.step and (allowed is HardNat.PREDICT or (allowed is HardNat.BIRTHDAY and failures % 2 == 0)):
        return Method.PREDICTION
    return Method.BIRTHDAY if allowed is HardNat.BIRTHDAY else Method.PLAIN


def window(last: Endpoint, step: int) -> list[Endpoint]:
    """Return where to expect the next mapping of a NAT in sequence whose last one was at `last`."""
    return _ports(last, (step * count for count in range(1, WINDOW + 1)))


def ascending(last: Endpoint, step: int) -> list[Endpoint]:
    """Return where to send to, so that what leaves by the next ports of this side meets `descending`.

    Each datagram to another port leaves by another port, the next one. In the plane of both sides' ports the
    one side's pairs lie on a rising line and the other's on a falling one. These cross whatever few ports
    others took in between: in a pair of ports if the number of those is right, even or odd, and else between
    two. So the falling one has two halves, of which the second is shifted by one.
    """
    return _ports(last, (step * count for count in range(1, LINE + 1)))


def descending(last: Endpoint, step: int) -> list[Endpoint]:
    """Return the other side's line."""
    counts = (*range(HALF, 0, -1), *range(2 * HALF + 1, HALF + 1, -1))
    return _ports(last, (step * count for count in counts))


def _ports(last: Endpoint, distances: Iterable[int]) -> list[Endpoint]:
    ports = (last.port + distance for distance in distances)
    return [last._replace(port=port) for port in ports if port <= 0xFFFF]


def random_ports(random: Callable[[int], bytes], count: int) -> list[int]:
    """Return as many different ports that a NAT may choose, in no order."""
    found: dict[int, None] = {}
    while len(found) < count:
        drawn = random(2 * count)
        numbers = (int.from_bytes(drawn[at : at + 2], "little") for at in range(0, len(drawn), 2))
        found.update(dict.fromkeys(number for number in numbers if number < PORTS))
    return [FIRST_PORT + number for number in islice(found, count)]


class _Volley:
    """Probes to many endpoints, some at a time."""

    __slots__ = ("at_once", "due", "every", "hops", "targets")

    def __init__(
        self, targets: Iterable[Endpoint], at_once: int, every: float, now: float, hops: int = 0
    ) -> None:
        self.targets: Iterator[Endpoint] = iter(targets)
        self.at_once = at_once
        self.every = every
        self.due = now
        self.hops = hops

    def next(self, now: float) -> list[Endpoint]:
        """Return the targets that are due; none where all have been."""
        bunches = 0
        while self.due <= now and bunches < BEHIND:
            self.due += self.every
            bunches += 1
        # Never in the past: nobody would be woken for that.
        self.due = max(self.due, now + self.every / 2)
        return list(islice(self.targets, bunches * self.at_once))


class Search:
    """One pair's search, attempt by attempt. `probes` counts by method what was sent, since the beginning."""

    __slots__ = (
        "_allowed",
        "_answered",
        "_ask_at",
        "_asks",
        "_awaited_until",
        "_before",
        "_challenge",
        "_failures",
        "_local",
        "_own",
        "_peer",
        "_rises",
        "_running",
        "_say_at",
        "_says",
        "_socket",
        "_starts",
        "_target",
        "_theirs",
        "_told",
        "_try_at",
        "_volley",
        "held",
        "method",
        "probes",
        "spent",
    )

    def __init__(
        self, local: Local, peer: Carrier, *, rises: bool, try_at: Callable[[Endpoint, float], None]
    ) -> None:
        """`try_at(endpoint, now)` probes one more path; `rises` on one side of each pair."""
        self._local = local
        self._peer = peer
        self._rises = rises
        self._try_at = try_at
        self.held = Held(local.sockets)
        self.probes: Counter[str] = Counter()
        self._before = ""  # what the last attempt that searched has to say of itself
        self._forget()

    def _forget(self) -> None:
        self._running = False
        self.method = Method.PLAIN
        self.spent = 0  # probes in this attempt, beyond the plain ones
        self._allowed = HardNat.OFF
        self._target: Endpoint | None = None
        self._theirs = Nat()
        self._failures = 0
        self._starts = inf
        self._socket = 0  # the fresh one
        self._own: Endpoint | None = None  # how that is seen
        self._ask_at = inf
        self._asks = 0
        self._told: Expect | None = None  # what the other side was told
        self._say_at = inf
        self._says = 0
        self._answered: Expect | None = None  # what the other side has said
        self._volley: _Volley | None = None
        self._awaited_until = -inf
        self._challenge = b""

    # The course of an attempt.

    def begin(
        self, theirs: Nat, target: Endpoint | None, allowed: HardNat, failures: int, now: float
    ) -> None:
        """Begin with an attempt, or know more in the one that is going on.

        `target` is where the server sees the other side.
        """
        if not self._running:
            self._running = True
            self._failures = failures
            self._starts = now + START_AFTER
            self._challenge = self._local.random(CHALLENGE_SIZE)
        self._theirs, self._target, self._allowed = theirs, target, allowed
        if not (theirs.is_hard or self._local.nat.is_hard):
            self._before = ""

    def stop(self) -> None:
        """Do nothing more in this attempt: there is a path."""
        self._starts = self._ask_at = self._say_at = inf
        self._volley = None
        self._awaited_until = -inf
        self._let_others()

    def end(self, used: int, now: float) -> list[int]:
        """The attempt is over; return which sockets are closed, of which none is `used`."""
        self._let_others()
        self._before = self.describe() or self._before
        self._forget()
        return self.tidy(used, now)

    def _let_others(self) -> None:
        if self._local.sockets.searcher is self:
            self._local.sockets.searcher = None

    def tidy(self, used: int, now: float) -> list[int]:
        """Close the sockets at which nothing was heard lately; return which."""
        gone = self.held.tidy(used, now)
        for number in gone:
            self._local.questions.forget(number)
        return gone

    def is_own(self, challenge: bytes) -> bool:
        """Return whether a challenge is that of the many probes, which proves nothing."""
        return challenge == self._challenge

    @property
    def is_waiting(self) -> bool:
        """Whether a round of the birthday search was due, and another pair's was going on all the time."""
        return self.method is Method.BIRTHDAY and self._starts < inf

    @property
    def busy_until(self) -> float:
        """Until when what was sent may find a path; infinity while something is still to be sent."""
        return self._awaited_until if self._volley is None else inf

    def describe(self) -> str:
        """Return by which method something was found, and how many probes that took; "" for plain probing."""
        return f"{self.method}, {self.spent} probes" if self.spent else ""

    def found_by(self) -> str:
        """Return the same of what is heard from now: what this side sent before may have let it in."""
        return self.describe() or self._before

    def next_moment(self) -> float:
        """Return when there is something to do."""
        due = inf if self._volley is None else self._volley.due
        return min(self._starts, self._ask_at, self._say_at, due)

    def tend(self, now: float) -> None:
        """Do what is due."""
        if self._starts <= now:
            self._start(now)
        if self._ask_at <= now:
            self._ask(now)
        if self._say_at <= now:
            self._say(now)
        if self._volley is not None and self._volley.due <= now:
            self._fire(self._volley, now)

    def _start(self, now: float) -> None:
        method = choose(self._local.nat, self._theirs, self._allowed, self._failures)
        if method is Method.BIRTHDAY:
            self._start_birthday(now)
            return
        if method is Method.PLAIN and self._local.nat.mapping is NatMapping.UNKNOWN:
            self._starts = now + ASK_EVERY  # it has only just been asked about
            return
        self._starts = inf
        if method is not Method.PLAIN and (number := self.held.open()) is not None:
            self.method = method
            self._socket = number
            self._ask_at = now

    # How the fresh socket is seen.

    def _ask(self, now: float) -> None:
        targets = self._local.stun_targets
        self._asks += 1
        self._ask_at = now + ASK_EVERY if self._asks < REPEATS else inf
        if targets:
            self._local.questions.ask(targets[0]._replace(socket=self._socket), self._seen)

    def _seen(self, mapped: Endpoint, now: float) -> None:
        self._ask_at = inf
        self._own = mapped
        step = self._local.nat.step if self.method is Method.PREDICTION else 0
        self._tell(Expect(PortRule.STEPS if step else PortRule.EXACT, step, mapped), now)
        if step and self._theirs.is_hard:
            self._cross(now)
        elif self._target is not None:
            self._try_at(self._target._replace(socket=self._socket), now)

    def _tell(self, frame: Expect, now: float) -> None:
        self._told = frame
        self._says = 0
        self._say(now)

    def _say(self, now: float) -> None:
        if self._told is not None:
            self._peer.tell(self._told, now)
        self._says += 1
        self._say_at = now + ASK_EVERY if self._says < REPEATS else inf

    # What the other side says of itself.

    def expected(self, frame: Expect, now: float) -> Drop | None:
        """Probe where the other side will be seen; what it says of others' addresses is refused."""
        target = self._target
        is_there = target is not None and frame.endpoint.address == target.address
        if not is_there or not self._local.is_outside(frame.endpoint):
            return Drop.UNEXPECTED_FRAME
        if frame == self._answered:
            return None
        own = self._local.nat
        match frame.rule:
            case PortRule.EXACT:
                self._answered = frame
                self._try_at(frame.endpoint, now)
                if self._socket:
                    self._try_at(frame.endpoint._replace(socket=self._socket), now)
            case PortRule.STEPS if self._allowed is not HardNat.OFF and frame.step:
                self._answered = frame
                if own.is_hard:
                    self._cross(now)
                else:
                    self._shoot(Method.PREDICTION, window(frame.endpoint, frame.step), now)
            case PortRule.ANY if self._allowed is HardNat.BIRTHDAY and not own.is_hard:
                if self._answered is None or self._answered.rule is not PortRule.ANY:
                    self._answered = frame
                    self._search_all(frame.endpoint, now)
            case _:
                return Drop.UNEXPECTED_FRAME
        return None

    def _cross(self, now: float) -> None:
        """Draw this side's line, once both sides have said how they are seen."""
        theirs = self._answered
        if self._own is None or theirs is None or not theirs.step:
            return
        line = ascending if self._rises else descending
        targets = line(theirs.endpoint, theirs.step)
        self._shoot(Method.PREDICTION, [each._replace(socket=self._socket) for each in targets], now)

    def _shoot(self, method: Method, targets: list[Endpoint], now: float) -> None:
        self.method = method
        self._volley = _Volley(targets * ROUNDS, max(len(targets), 1), ROUND_EVERY, now)

    # The birthday search.

    def _start_birthday(self, now: float) -> None:
        sockets = self._local.sockets
        self._starts = now + BIRTHDAY_AFTER - START_AFTER
        if self.method is not Method.BIRTHDAY:  # a moment more for plain probing
            self.method = Method.BIRTHDAY
            return
        if self._target is None or sockets.searcher is not None:
            return  # later, when another pair's round is over
        self._starts = inf
        sockets.searcher = self
        opened = [number for _ in range(SOCKETS) if (number := self.held.open()) is not None]
        targets = [self._target._replace(socket=number) for number in opened]
        hops = _EARLY_HOPS if self._failures % 2 else 0
        self._volley = _Volley(targets, SOCKETS_AT_ONCE, EVERY, now, hops)

    def _search_all(self, where: Endpoint, now: float) -> None:
        self.method = Method.BIRTHDAY
        targets = [where._replace(port=port) for port in random_ports(self._local.random, PROBES)]
        self._volley = _Volley(targets, PROBES_AT_ONCE, EVERY, now)
        self._awaited_until = now + ROUND_TIME  # as long as the other side waits: no attempt meets an old one

    # Probes.

    def count(self, kind: CandidateKind) -> None:
        """Count a probe of a path: plain, unless only the search knows of it."""
        is_plain = kind is not CandidateKind.EXPECTED
        self.probes[Method.PLAIN if is_plain else self.method] += 1
        self.spent += not is_plain

    def _fire(self, volley: _Volley, now: float) -> None:
        sockets = self._local.sockets
        if self.method is Method.BIRTHDAY and sockets.searcher is not self:
            if sockets.searcher is not None:
                volley.due = now + EVERY
                return
            sockets.searcher = self
        targets = volley.next(now)
        for target in targets:
            self.spent += self._peer.probe(target, self._challenge, now, volley.hops)
        self.probes[self.method] += len(targets)
        if not targets:
            self._volley = None
            self._awaited_until = max(self._awaited_until, now + ANSWERED_IN)
            if self.method is Method.BIRTHDAY and self._answered is None:
                self._let_them_search(now)
            else:
                self._let_others()

    def _let_them_search(self, now: float) -> None:
        """Say that the sockets are open. The round is over when the attempt is."""
        self._awaited_until = now + ROUND_TIME
        if self._local.observed is not None:
            self._tell(Expect(PortRule.ANY, 0, self._local.observed), now)
