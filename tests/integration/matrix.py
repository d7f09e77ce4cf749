"""Pairs of clients behind every two kinds of router, all at once, through what shows a path for what it is.

Each pair goes through this, with a few numbered datagrams a second from the one that starts, sent back by
the other, which never speaks first:

    found       the first datagram makes them look for each other: direct or relayed, as the rule has it
    relay cut   the hub drops what is to be relayed: direct pairs go on, relayed ones are silent
    blocked     nothing passes between the two routers any more, and both forget all mappings: relayed
    opened      direct again, or still relayed

Which way the data takes is told by the counters of the two routers. `ltk status` is asked before and after
each look at them: where it says the same both times, and nothing changed in between, it must be what they
have counted. A status that lies fails the pair, whatever was awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cells import Cell, Way
from flows import Places, flush_nat
from harness import Lab, wait_for
from looks import Look, Said, Side
from routers import Tally, start_counting, tally
from streams import Stream, Traffic, traffic

from ltk.cli.main import run as ltk
from ltk.kernel import nft

PAIRS_A_LAB = 20  # every client knows every other: what a status costs grows with the square
PACE = 0.2  # seconds between two datagrams of a pair
AT_ONCE = 8  # pairs that start at the same moment
TURN = 12.0  # seconds until the next ones start at the latest: an attempt, however long it takes
LOOK = 5  # datagrams of each pair between two readings of the counters
LATE = 1.0  # seconds that an answer may be late, where answers come
# A path that was lost four times within minutes, as on a machine without breath, is not used for a minute.
PATIENCE = 420.0  # seconds for each phase; when to give up, on a machine that gets a third of its processors

CUT_BETWEEN = "add rule inet cut between ip saddr . ip daddr @apart drop\n"
MEND_BETWEEN = "flush chain inet cut between\n"
RELAYS_ALL = """table inet cut { chain relay { type filter hook input priority -5; }; }
flush chain inet cut relay
"""
CUT_THE_RELAY = "add rule inet cut relay udp dport 1-65535 @th,64,8 0x80 drop\n"  # docs/protocol.md: relayed


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clients at their sites, in the lab of this number; `a` starts."""

    lab: int
    number: int
    cell: Cell

    @property
    def nodes(self) -> tuple[str, str]:
        return f"a{self.number:02}", f"b{self.number:02}"

    @property
    def sites(self) -> tuple[str, str]:
        return f"at-a{self.number:02}", f"at-b{self.number:02}"

    @property
    def addresses(self) -> tuple[str, str]:
        return f"10.{76 + self.lab}.1.{self.number}", f"10.{76 + self.lab}.2.{self.number}"


def pairs_of(cells: Iterable[Cell]) -> list[Pair]:
    """A pair for each, a lab full at a time."""
    return [Pair(number // PAIRS_A_LAB, number % PAIRS_A_LAB + 1, cell) for number, cell in enumerate(cells)]


def topology(name: str, number: int, pairs: Sequence[Pair]) -> str:
    """A server, and every client of these pairs behind a router of its own."""
    nodes, sites = "", ""
    for pair in pairs:
        kinds = (pair.cell.starts, pair.cell.other)
        for node, address, site, kind in zip(pair.nodes, pair.addresses, pair.sites, kinds, strict=True):
            nodes += f"  {node}: {{address: {address}}}\n"
            sites += f"    {site}: {{nat: {kind.nat}, hosts: [{node}]}}\n"
    return f"""
name: {name}{number}
network: {{subnet: 10.{76 + number}.0.0/16}}
nodes:
  hub: {{role: server, address: 10.{76 + number}.0.1}}
{nodes}
lab:
  internet: 203.0.112.0/22
  sites:
    cloud: {{hosts: [hub]}}
{sites}"""


@dataclass(slots=True, eq=False)
class Course:
    """A pair on its way: what it has shown, and what was not as it should be."""

    pair: Pair
    lab: Lab
    data: Stream
    found: str = "?"
    seconds: float = 0.0  # from the first datagram to the end of the look that found it
    # seconds from then until both routers were seen to have counted data straight: at once while its turn
    # lasts, and later when all others have started
    direct_after: float | None = None
    probes: int = 0  # sent by both until then
    at_once: bool = False  # in the first attempt
    given_up: str = ""  # what was waited for in vain
    wrong: list[str] = field(default_factory=list)  # what must never be, and was

    @property
    def problems(self) -> list[str]:
        """All that was not as it should be."""
        return [*self.wrong, *filter(None, [self.given_up])]

    @property
    def shown(self) -> str:
        """What was found, in the table's letters; marked where it is not what was expected."""
        expected = self.pair.cell.way
        met = self.found == ("relay" if expected is Way.RELAY else "direct")
        letter = expected.value if met else {"direct": "D", "relay": "R"}.get(self.found, "?")
        return letter if met and not self.problems else f"{letter}!"

    @property
    def is_relayed_for_good(self) -> bool:
        """Whether there can be no direct path."""
        return self.pair.cell.way is Way.RELAY

    def is_right(self, look: Look) -> bool:
        """Whether the pair talks as it has to."""
        return look.is_relayed if self.is_relayed_for_good else look.is_direct


@contextmanager
def fields(name: str, cells: Iterable[Cell], folder: Path) -> Iterator[Field]:
    """A pair for each of these cells, and labs for them, up while the body goes on."""
    pairs = pairs_of(cells)
    here = [[pair for pair in pairs if pair.lab == lab] for lab in range(pairs[-1].lab + 1)]
    labs = [
        Lab(topology(name, number, some), folder / f"{name}{number}.yaml") for number, some in enumerate(here)
    ]
    try:
        for lab in labs:
            # in one process with the program that makes the routers, which a mutant can replace
            assert ltk(["apply", str(lab.path)]) == 0
        with traffic() as world:
            yield Field(labs, pairs, world)
    except AssertionError:
        print(*(lab.logs() for lab in labs))
        raise
    finally:
        for lab in labs:
            lab.destroy()


class Field:
    """All labs with their pairs, side by side."""

    def __init__(self, labs: Sequence[Lab], pairs: Sequence[Pair], world: Traffic) -> None:
        self._labs = labs
        self._pairs = pairs
        self._world = world
        self._told: dict[Course, tuple[Said, Said]] = {}
        self.courses: list[Course] = []
        for number, lab in enumerate(labs):
            here = [pair for pair in pairs if pair.lab == number]
            places = Places.of(lab).address
            ways = [(places[pair.nodes[0]], places[pair.nodes[1]]) for pair in here]
            others = {
                site: other
                for pair, (a, b) in zip(here, ways, strict=True)
                for site, other in zip(pair.sites, (b, a), strict=True)
            }
            start_counting(lab, others, places["hub"])
            nft.load({lab.scope("internet"): _nothing_is_cut(ways), lab.scope("hub"): RELAYS_ALL})

    def run(self) -> None:
        """Take all pairs through all phases; what they have shown is in `courses`."""
        self.find()
        self.cut_the_relay()
        self.block()
        self.open()

    def find(self, *, in_turns: bool = False) -> None:
        """All pairs start, some at a time, and find each other or do not.

        `in_turns`: the next ones start when these are direct, or when it has taken too long.
        """
        for first in range(0, len(self._pairs), AT_ONCE):
            some = [self._start(pair) for pair in self._pairs[first : first + AT_ONCE]]
            self.courses += some
            self._for_a_while(lambda course: bool(course.data.echoed), some)
            if in_turns:
                self._for_a_while(self._is_straight, some)

        def has_found(course: Course, look: Look) -> bool:
            if look.is_direct or (look.is_relayed and look.has_failed):
                if course.found == "?" or look.is_direct:
                    course.seconds = time.time() - course.data.sent[0]
                    course.direct_after = course.direct_after or course.seconds
                    course.at_once = not any(side.after.failures for side in look.sides)
                    course.probes = sum(each.probes for each in self._tallies(course))
                course.found = "direct" if look.is_direct else "relay"
                return course.is_right(look)
            return False

        self._until("found", "as the rule has it", has_found)

    def _is_straight(self, course: Course) -> bool:
        """Whether data has gone straight both ways; when that was first seen is noted."""
        if course.direct_after is None and all(each.direct_in for each in self._tallies(course)):
            course.direct_after = time.time() - course.data.sent[0]
        return course.direct_after is not None

    def cut_the_relay(self) -> None:
        """The hub relays nothing: only what is direct goes on."""
        self._load("hub", CUT_THE_RELAY)

        def is_as_told(course: Course, look: Look) -> bool:
            return look.is_silent if course.is_relayed_for_good else look.is_direct

        self._until("relay cut", "silent where it was relayed, and direct else", is_as_told)
        self._load("hub", RELAYS_ALL)

    def block(self) -> None:
        """Nothing passes between the two routers, and these forget: only the relay is left."""
        self._load("internet", CUT_BETWEEN)
        for lab in self._labs:
            for pair in self._in(lab):
                for site in pair.sites:
                    flush_nat(lab, site, new_ports=False)
        relayed: set[Pair] = set()

        def is_relayed(course: Course, look: Look) -> bool:
            if look.is_relayed:
                relayed.add(course.pair)
            return look.is_relayed

        def claims(course: Course, look: Look) -> str:
            return "claims to be direct" if course.pair in relayed and look.claims_direct else ""

        self._until("blocked", "relayed", is_relayed, claims)

    def open(self) -> None:
        """What could be direct is so again."""
        self._load("internet", MEND_BETWEEN)
        self._until("opened", "as before", lambda course, look: course.is_right(look))

    def _start(self, pair: Pair) -> Course:
        lab = self._labs[pair.lab]
        return Course(pair, lab, self._world.stream(lab, *pair.nodes, pair.addresses[1], pace=PACE))

    def _in(self, lab: Lab) -> list[Pair]:
        return [pair for pair in self._pairs if self._labs[pair.lab] is lab]

    def _load(self, place: str, rules: str) -> None:
        nft.load({lab.scope(place): rules for lab in self._labs})

    def _until(
        self,
        phase: str,
        awaited: str,
        holds: Callable[[Course, Look], bool],
        forbidden: Callable[[Course, Look], str] = lambda course, look: "",
    ) -> None:
        """Look at all pairs until each has been once as awaited; note those that are not, or that lie."""
        waiting = [course for course in self.courses if not course.problems]
        end = time.monotonic() + PATIENCE
        while waiting:
            still = []
            for course, look in self._looks().items():
                if course.problems:
                    continue
                if problem := look.lie or _straight(course, look) or forbidden(course, look):
                    course.wrong.append(f"{phase}: {problem}: {look}")
                elif course in waiting and not holds(course, look):
                    still.append(course)
                    if time.monotonic() > end:
                        course.given_up = f"{phase}: not {awaited} in {PATIENCE:g} s: {look}"
            waiting = [course for course in still if not course.problems]

    def _looks(self) -> dict[Course, Look]:
        """Some datagrams of every pair, with what was said and counted meanwhile."""
        said = self._told or self._said()
        before = [self._tallies(course) for course in self.courses]
        numbers = {
            course: range(len(course.data.sent), len(course.data.sent) + LOOK) for course in self.courses
        }
        self._await(
            lambda course: len(course.data.sent) >= numbers[course].stop,
            "datagrams of all pairs",
            self.courses,
        )
        self._for_a_while(
            lambda course: all(n in course.data.echoed for n in numbers[course]), self.courses, LATE
        )
        # What has been heard by now was counted before that. Of what is heard while the counters are read,
        # and while status is asked, nobody knows.
        heard = {
            course: [
                sum(n in places for n in numbers[course])
                for places in (course.data.arrived, course.data.echoed)
            ]
            for course in self.courses
        }
        after = [self._tallies(course) for course in self.courses]
        # What was said last is what was said first of the next look: a change in between will show.
        self._told = said_then = self._said()
        found = {}
        for number, course in enumerate(self.courses):
            a, b = (
                Side(
                    said[course][i],
                    said_then[course][i],
                    heard[course][i],
                    after[number][i] - before[number][i],
                )
                for i in (0, 1)
            )
            found[course] = Look(LOOK, b.carried, (a, b))
        return found

    def _said(self) -> dict[Course, tuple[Said, Said]]:
        """What both sides of each pair say of each other."""
        with ThreadPoolExecutor(2) as executor:
            told = dict(zip(self._labs, executor.map(Lab.status, self._labs), strict=True))
        found = {}
        for course in self.courses:
            (a, b), status = course.pair.nodes, told[course.lab]
            found[course] = (Said.of(status, a, b), Said.of(status, b, a))
        return found

    def _tallies(self, course: Course) -> tuple[Tally, Tally]:
        a, b = (tally(course.lab, site) for site in course.pair.sites)
        return a, b

    def _for_a_while(
        self, holds: Callable[[Course], bool], courses: Sequence[Course], most: float = TURN
    ) -> None:
        """Wait until it holds for all of these, or so many seconds: whether it does is seen later."""
        end = time.monotonic() + most
        self._await(lambda course: time.monotonic() > end or holds(course), "the time to pass", courses)

    def _await(self, holds: Callable[[Course], bool], awaited: str, courses: Sequence[Course]) -> None:
        def hold() -> bool:
            self._world.check()
            held = [holds(course) for course in courses]  # each is looked at, however others are
            return all(held)

        wait_for(hold, awaited, PATIENCE)


def _straight(course: Course, look: Look) -> str:
    """What must never be of a pair that has no direct path."""
    if not course.is_relayed_for_good:
        return ""
    if look.claims_direct:
        return "claims to be direct where it cannot"
    return "data went straight where it cannot" if look.goes_straight else ""


def _nothing_is_cut(ways: Iterable[tuple[str, str]]) -> str:
    """Rules for the internet that can cut all these ways at once, and do not yet."""
    apart = ", ".join(f"{a} . {b}, {b} . {a}" for a, b in ways)
    return (
        "table inet cut {\n"
        f"set apart {{ type ipv4_addr . ipv4_addr; elements = {{ {apart} }}; }}\n"
        "chain between { type filter hook forward priority -5; }\n}\n"
    )
