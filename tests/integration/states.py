"""Pairs of clients in every state that the network between them can be in, and what they come to.

Each pair has data from one to the other and back, twenty numbered datagrams a second, from its first moment
on. What becomes of it is read off the internet, and off the carriers in front of some homes: whether the
server's address is one end of what carries it, or not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flows import Flows, flush_nat
from harness import Lab, wait_for
from streams import Sighting, Stream, Traffic

HUB_SITE = "cloud"
PACE = 0.05  # seconds between two datagrams
STEADY = 20  # answers, a second's worth: what goes on for so long has settled
PATIENCE = 60.0  # seconds for each event; no figure, but when to give up
DELAYED = "link: {delay: 10ms}"
ADDRESSES = ("203.0.113.100", "203.0.113.120")  # of a router, before it moves and afterwards


class Way(StrEnum):
    """How the data of a pair goes in the end."""

    STRAIGHT = "direct"
    CARRIER = "direct, turned around by the carrier"
    LAN = "direct over the LAN"
    RELAY = "relayed"
    STREAM = "relayed over TCP"


@dataclass(frozen=True, slots=True)
class State:
    """Two clients, `a` and `b` behind its key; `sites` in the file's words, the outermost of each named."""

    key: str  # of a letter or two, in all names
    what: str
    way: Way
    sites: str
    outer: tuple[str, str]

    @property
    def nodes(self) -> tuple[str, str]:
        """The names of the two."""
        return f"{self.key}a", f"{self.key}b"


def _homes(key: str, what: str, nat: str, other: str | None = None, more: str = "") -> State:
    """Two sites that hang on the internet; the first is the one of which something is to be seen."""
    sites = f"""
{key}-a: {{nat: {nat}, hosts: [{key}a], {DELAYED}{more}}}
{key}-b: {{nat: {other or nat}, hosts: [{key}b], {DELAYED}}}
"""
    return State(key, what, Way.STRAIGHT, sites, (f"{key}-a", f"{key}-b"))


def _carrier(key: str, what: str, way: Way, nat: str, lan: str) -> State:
    """Two homes behind one carrier."""
    sites = f"""
{key}-c: {{nat: {nat}, lan: {lan}}}
{key}-a: {{nat: home, behind: {key}-c, hosts: [{key}a]}}
{key}-b: {{nat: home, behind: {key}-c, hosts: [{key}b]}}
"""
    return State(key, what, way, sites, (f"{key}-c", f"{key}-c"))


TURNING = _carrier("t", "carrier with hairpin", Way.CARRIER, "cgnat", "100.64.0.0/24")
PLAIN_CARRIER = "{preset: cgnat, hairpin: false}"
STUBBORN = _carrier("s", "carrier without", Way.RELAY, PLAIN_CARRIER, "100.64.1.0/24")
DOUBLE_SITES = """
d-c: {nat: cgnat, lan: 100.64.2.0/24}
d-a: {nat: home, behind: d-c, hosts: [da]}
d-b: {nat: home, hosts: [db]}
"""
DOUBLE = State("d", "double NAT and a home", Way.STRAIGHT, DOUBLE_SITES, ("d-c", "d-b"))
LAN = "n-lan: {nat: port-restricted, hosts: [na, nb]}"
NEIGHBOURS = State("n", "on one LAN", Way.LAN, LAN, ("n-lan", "n-lan"))
# Who asks is the first to have a session and to send a probe, and so its own router is not poisoned.
POISONABLE = _homes("p", "poisonable router", "{preset: home, unsolicited: accept}", "home")
# Both may be poisoned: nothing of one side's first probes may reach the other's router.
BOTH_POISONABLE = _homes("w", "poisonable routers on both sides", "{preset: home, unsolicited: accept}")
IDLE = _homes("i", "life time of 20 s", "{preset: home, lifetime: 20s}")
SAME = _homes("r", "router that keeps ports", "home")
NEW = _homes("q", "router that does not", "{preset: home, ports: random}", "home")
MOVED = _homes("m", "router that moves", "home", more=f", wan: {ADDRESSES[0]}")
DEAF_SITES = f"""
u-a: {{nat: {{preset: home, udp: block}}, hosts: [ua], {DELAYED}}}
u-b: {{nat: home, hosts: [ub], {DELAYED}}}
"""
DEAF = State("u", "UDP blocked", Way.STREAM, DEAF_SITES, ("u-a", "u-b"))
STATES = (TURNING, STUBBORN, DOUBLE, NEIGHBOURS, POISONABLE, BOTH_POISONABLE, IDLE, SAME, NEW, MOVED, DEAF)


def topology() -> str:
    """All of them around one server."""
    names = [name for state in STATES for name in state.nodes]
    nodes = "".join(f"  {name}: {{address: {tunnel_address(name)}}}\n" for name in names)
    lines = [line for state in STATES for line in state.sites.strip().splitlines()]
    return f"""
name: states
network: {{subnet: 10.75.0.0/24}}
nodes:
  hub: {{role: server, address: 10.75.0.1}}
{nodes}lab:
  sites:
    {HUB_SITE}: {{hosts: [hub]}}
""" + "".join(f"    {line}\n" for line in lines)


def tunnel_address(name: str) -> str:
    """The tunnel address of a client."""
    number = next(number for number, state in enumerate(STATES) if name in state.nodes)
    return f"10.75.0.{10 + 2 * number + 'ab'.index(name[-1])}"


@dataclass(slots=True)
class Course:
    """A pair on its way, and the moments of it."""

    state: State
    stream: Stream
    took: float = 0.0  # seconds from the first datagram to the last that went another way than it should
    ports: tuple[int, ...] = field(default_factory=tuple)


class World:
    """A lab of all states, with data on all pairs."""

    def __init__(self, lab: Lab, traffic: Traffic) -> None:
        self.lab = lab
        self.traffic = traffic
        self.flows = Flows(lab)
        self.seen = traffic.sightings(lab)
        self.turned = {state.key: traffic.sightings(lab, state.outer[0]) for state in (TURNING, STUBBORN)}

    def begin(self, state: State) -> Course:
        """Start the data of a pair."""
        a, b = state.nodes
        return Course(state, self.traffic.stream(self.lab, a, b, tunnel_address(b), pace=PACE))

    def outer(self, state: State) -> tuple[str, str]:
        """The addresses by which the internet knows the two."""
        one, other = (self.flows.places.address[site] for site in state.outer)
        return one, other

    def relayed(self, state: State, since: float) -> list[Sighting]:
        """The data of the pair that has come from the server since then."""
        hub = self.flows.places.address["hub"]
        found = [each for outer in set(self.outer(state)) for each in self.seen.data(hub, outer, since)]
        return sorted(found)

    def straight(self, state: State, since: float) -> tuple[list[Sighting], list[Sighting]]:
        """The data that has crossed the internet from one to the other, and back."""
        one, other = self.outer(state)
        return self.seen.data(one, other, since), self.seen.data(other, one, since)

    def goes(self, course: Course, since: float) -> bool:
        """Whether the data has gone on its way for a second, and on no other, with answers all the time."""
        state, lately = course.state, max(since, time.time() - STEADY * PACE)
        if course.stream.echoes(lately) < STEADY // 2:
            return False
        relayed, straight = self.relayed(state, lately), self.straight(state, lately)
        match state.way:
            case Way.RELAY:
                return bool(relayed) and not any(straight) and not any(each.by_tcp for each in relayed)
            case Way.STREAM:
                hub, outer = self.flows.places.address["hub"], self.outer(state)[0]
                streamed = self.seen.data(hub, outer, lately)
                return bool(streamed) and all(each.by_tcp for each in streamed) and not any(straight)
            case Way.STRAIGHT:
                return not relayed and all(straight)
            case Way.LAN:
                return not relayed
            case Way.CARRIER:
                router = self.outer(state)[0]
                inner = (self.flows.places.address[f"{state.key}-{each}"] for each in "ab")
                turned = [self.turned[state.key].data(each, router, lately) for each in inner]
                return not relayed and all(turned)

    def settle(self, courses: Sequence[Course], since: float) -> None:
        """Wait until the data of all goes as it should, and note since when: the last on another way."""

        def settled() -> bool:
            self.traffic.check()
            return all(self.goes(course, since) for course in courses)

        def awaited() -> str:
            late = [course.state for course in courses if not self.goes(course, since)]
            return ", ".join(f"{state.what} to be {state.way}" for state in late)

        try:
            wait_for(settled, "all of them", PATIENCE)
        except AssertionError:
            raise AssertionError(f"waited {PATIENCE:g} s for this: {awaited()}") from None
        for course in courses:
            began = max(since, course.stream.sent[0])
            first = min(times[0] for times in list(course.stream.echoed.values()) if times[0] > since)
            others = [] if course.state.way in (Way.RELAY, Way.STREAM) else self.relayed(course.state, since)
            course.took = max([first, *(each.at for each in others)]) - began
            course.ports = self.ports(course.state, time.time() - STEADY * PACE)

    def ports(self, state: State, since: float) -> tuple[int, ...]:
        """The ports from which data of the first has come to the second since then."""
        return tuple(sorted({each.port for each in self.straight(state, since)[0]}))

    def move(self) -> float:
        """Give the router that moves its other address, as a provider does.

        Returns when the other side last heard from the old one.
        """
        before, after = ADDRESSES
        self.lab.rewrite(self.lab.yaml.replace(f"wan: {before}", f"wan: {after}"))
        changed = {each["resource"] for each in self.lab.apply()["changes"]}
        assert changed == {"address", "route", "ruleset"}
        flush_nat(self.lab, MOVED.outer[0], new_ports=False)
        other = self.flows.places.address[MOVED.outer[1]]
        self.flows.places.address[MOVED.outer[0]] = after
        return self.seen.data(before, other)[-1].at


def gaps(sightings: Iterable[Sighting], since: float, until: float) -> list[float]:
    """The times without a datagram between two moments, in seconds."""
    times = [since, *sorted(each.at for each in sightings if since < each.at < until), until]
    return [later - earlier for earlier, later in itertools.pairwise(times)]
