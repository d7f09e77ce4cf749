"""Twenty pairs of homes on their way from a cold start through all that can happen to a direct path.

Each pair has 40 ms of round trip, between the two as by way of the server, and goes through this, with fifty
numbered datagrams a second, there and back, from its first moment on:

    cold      both daemons are killed, and come back without a session with anybody
    direct    the data goes straight between the two routers, both ways
    cut       what one router sends to the other is dropped; the relay has to take over
    healed    and the direct path has to be used again
    flushed   one router forgets its mappings, and gives a port that it never gave before

A cold start is timed from when both daemons have begun. A daemon has begun when it asks for a session with
the server, which is the first thing that it says, or when it takes a packet that is answered later on, where
that was before. So the time that a process takes to start is no part of it; and pairs start one by one.
A path that is lost once more is not used for some seconds (flap damping), so the flush is the last event.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flows import NEW_PORT, Flows, flush_nat
from harness import Lab, wait_for
from streams import PACE, Sighting, Sightings, Stream, Traffic, traffic

HUB = "10.72.0.1"
AT_ONCE = 5  # pairs with data, so that no figure is one of an overloaded machine
ROUND_TRIP = 0.040  # seconds between two homes
ROUND_TRIP_TO_HUB = 0.020
ONE_WAY = 0.010  # seconds from a home to the internet
STEADY = 50  # answers, a second's worth: what goes on for so long has settled
PATIENCE = 60.0  # seconds for each event; no figure, but when to give up


@dataclass(frozen=True, slots=True)
class Pair:
    """Two homes."""

    number: int

    @property
    def nodes(self) -> tuple[str, str]:
        return f"a{self.number}", f"b{self.number}"

    @property
    def sites(self) -> tuple[str, str]:
        return f"home-a{self.number}", f"home-b{self.number}"

    @property
    def addresses(self) -> tuple[str, str]:
        return f"10.72.1.{self.number}", f"10.72.2.{self.number}"


@dataclass(slots=True)
class Runs:
    """What the pairs have shown: seconds, and numbers of datagrams by pair."""

    first_echo_of_server: list[float] = field(default_factory=list)
    first_echo: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)
    flushed: list[float] = field(default_factory=list)
    new_ports: list[int] = field(default_factory=list)  # pairs whose new port the internet has seen
    lost: dict[str, list[int]] = field(default_factory=dict)  # while the way changed without any harm
    twice: dict[str, list[int]] = field(default_factory=dict)


def topology(pairs: Sequence[Pair]) -> str:
    """The server, and each home behind a router of its own."""
    nodes, sites = "", ""
    for pair in pairs:
        for node, address, site in zip(pair.nodes, pair.addresses, pair.sites, strict=True):
            nodes += f"  {node}: {{address: {address}}}\n"
            sites += f"    {site}: {{nat: port-restricted, hosts: [{node}], link: {{delay: 10ms}}}}\n"
    return f"""
name: figures
network: {{subnet: 10.72.0.0/16}}
nodes:
  hub: {{role: server, address: {HUB}}}
{nodes}
lab:
  sites:
    cloud: {{hosts: [hub]}}
{sites}"""


def measure(lab: Lab, pairs: Sequence[Pair]) -> Runs:
    """Take all pairs through it, a few at a time."""
    runs = Runs()
    flows = Flows(lab)
    with traffic() as world:
        seen = world.sightings(lab)
        for first in range(0, len(pairs), AT_ONCE):
            Course(lab, flows, world, seen, pairs[first : first + AT_ONCE], runs).run()
    return runs


class Course:
    """Some pairs on their way, side by side."""

    def __init__(
        self, lab: Lab, flows: Flows, world: Traffic, seen: Sightings, pairs: Sequence[Pair], runs: Runs
    ) -> None:
        self.lab = lab
        self.flows = flows
        self.world = world
        self.seen = seen
        self.pairs = pairs
        self.runs = runs
        self.data: dict[Pair, Stream] = {}

    def run(self) -> None:
        """Take them through it; what they have shown is in `runs` afterwards."""
        began = {pair: self._start_cold(pair) for pair in self.pairs}
        settled = self._settle(time.time())
        cut = time.time()
        with self.flows.cut_off(*(pair.sites for pair in self.pairs)):
            relayed = self._settle(cut)
            healed = time.time()
        self._await(lambda pair: is_direct(self.seen, self.flows, pair.sites, healed), "direct data again")
        returned = self._settle(time.time())
        flushed = {}
        for pair in self.pairs:
            flushed[pair] = time.time()
            flush_nat(self.lab, pair.sites[0], new_ports=True)
        self._settle(time.time())
        now = time.time()
        for pair, data in self.data.items():
            self.world.stop(data)
            self.runs.cut.append(data.outage(cut, healed))
            self.runs.flushed.append(data.outage(flushed[pair], now))
            self._note_new_port(pair, flushed[pair])
            before, after = data.lost(began[pair], settled[pair]), data.lost(relayed[pair], returned[pair])
            self.runs.lost[data.name] = before + after
            self.runs.twice[data.name] = data.duplicates()

    def _start_cold(self, pair: Pair) -> float:
        """Start the daemons anew, and the data; return when both had begun."""
        pids = [self.lab.daemon_pid(node) for node in pair.nodes]
        killed = time.time()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        a, b = pair.nodes
        to_hub = self.world.stream(self.lab, a, "hub", HUB)
        self.data[pair] = data = self.world.stream(self.lab, a, b, pair.addresses[1])
        wait_for(to_hub.echoes, f"the server's first echo to {a}", PATIENCE)
        self.world.stop(to_hub)
        wait_for(lambda: is_direct(self.seen, self.flows, pair.sites, killed), "a direct path", PATIENCE)
        sent_to_hub, heard_from_hub = to_hub.first_echo()
        sent, heard = data.first_echo()
        first_words = [self._first_word(site, killed) for site in pair.sites]
        a_began = min(first_words[0], sent, sent_to_hub)
        began = max(a_began, first_words[1])
        self.runs.first_echo_of_server.append(heard_from_hub - a_began)
        self.runs.first_echo.append(heard - began)
        both = straight(self.seen, self.flows, pair.sites, killed)
        self.runs.direct.append(max(way[0].at for way in both) - began)
        return began

    def _first_word(self, site: str, since: float) -> float:
        """When the first datagram since then left a home for the server."""
        places = self.flows.places.address
        return self.seen.between(places[site], places["hub"], since)[0].at - ONE_WAY

    def _note_new_port(self, pair: Pair, since: float) -> None:
        """Note whether data has come from the router's new port, for the other home or for the server."""
        a, *others = (self.flows.places.address[place] for place in (*pair.sites, "hub"))
        if any(each.port == NEW_PORT for other in others for each in self.seen.data(a, other, since)):
            self.runs.new_ports.append(pair.number)

    def _settle(self, since: float) -> dict[Pair, float]:
        """Wait until the data of all pairs has gone on for a second; return up to when it had been sent."""
        self._await(lambda pair: self.data[pair].echoes(since) >= STEADY, "data to go on")
        return {pair: data.last_echoed() for pair, data in self.data.items()}

    def _await(self, holds: Callable[[Pair], bool], awaited: str) -> None:
        def hold() -> bool:
            self.world.check()
            return all(holds(pair) for pair in self.pairs)

        wait_for(hold, f"{awaited} of pairs {self.pairs[0].number} to {self.pairs[-1].number}", PATIENCE)


def straight(seen: Sightings, flows: Flows, sites: tuple[str, str], since: float) -> list[list[Sighting]]:
    """The data that has gone straight from one home to the other since then, and that which has gone back."""
    a, b = (flows.places.address[site] for site in sites)
    return [seen.data(a, b, since), seen.data(b, a, since)]


def is_direct(seen: Sightings, flows: Flows, sites: tuple[str, str], since: float) -> bool:
    """Whether data goes straight both ways, and since then, or for some time, none by way of the server."""
    a, b, hub = (flows.places.address[place] for place in (*sites, "hub"))
    lately = max(since, time.time() - 20 * PACE)
    relayed = seen.data(hub, a, lately) + seen.data(hub, b, lately)
    return all(straight(seen, flows, sites, lately)) and not relayed
