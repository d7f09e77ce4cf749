"""What a NAT really does, found by probing it from inside and from two addresses with two ports each outside.

The tests are those of RFC 5780 (section 4), with one difference: here the other end is ours as well, so
that what arrived is seen where it arrives. That something did *not* arrive is known because what was sent
after it, along the same path, did; no verdict but one ("no UDP gets out at all") waits for a time to pass.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

from ltk.errors import LtkError
from ltk.lab.bench import Bench, benches
from ltk.topology.expanded import Lab, Site
from ltk.topology.nats import NatFiltering, NatMapping, Ports, UdpPolicy, Unsolicited

PATIENCE = 10.0  # seconds for what should arrive, beside the link's own delay; machines are shared
IMPATIENCE = 1.5  # seconds, where the file says that nothing will
RESEND = (
    0.05,
    0.1,
    0.2,
    0.4,
    0.8,
)  # seconds between one datagram and the next; then the last again and again
CERTAINTY = 1e-6  # the chance that a lossy link makes us miss what passes
MAX_ROUNDS = 64
SOCKETS = 8  # fresh mappings, from which the rule of their ports is read
LOOKS = 3  # each with fresh sockets, before it is believed that a NAT does not do what the file says
STEP = 8  # by at most this much do ports in sequence grow: hosts of the site take some as well
BLOCK = 512
QUIET_PORTS = range(2000, 5000)  # apart from what NATs hand out and from ephemeral ones
AT_ONCE = 16  # sites probed side by side
TOKEN = 16  # bytes

DNS = 53  # UDP port

_DNS_IN_USE = threading.Lock()  # the one port that sites probed side by side have to share

Endpoint: TypeAlias = tuple[str, int]
_Seen = TypeVar("_Seen")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a router does. None stands for what does not apply or could not be seen."""

    udp: UdpPolicy
    mapping: NatMapping | None = None
    filtering: NatFiltering | None = None
    hairpin: bool | None = None
    ports: Ports | None = None
    unsolicited: Unsolicited | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, by the keys of a topology file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A site as the file declares it and as it was found; `found` is None where nobody could look."""

    site: str
    declared: Behaviour
    found: Behaviour | None

    @property
    def differs(self) -> tuple[str, ...]:
        """The keys in which the two differ; what was not seen differs from nothing."""
        if self.found is None:
            return ()
        declared, found = self.declared.to_json(), self.found.to_json()
        seen = (key for key in found if None not in (declared[key], found[key]))
        return tuple(key for key in seen if declared[key] != found[key])


def prove(topology: str, lab: Lab, sites: Sequence[Site]) -> list[Verdict]:
    """Probe the routers of `sites`, side by side. Raises LtkError where answers stop in the middle."""

    with benches(topology, lab, sites) as places, ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(_look, places))
    return [Verdict(site.name, declared(site), what) for site, what in zip(sites, found, strict=True)]


def _look(place: Bench | None) -> Behaviour | None:
    return None if place is None else _Probing(place).behaviour()


def declared(site: Site) -> Behaviour:
    """What the file says of a site's router."""
    nat = site.nat
    return Behaviour(
        nat.udp,
        nat.mapping,
        nat.filtering,
        nat.hairpin if nat.translates else None,
        nat.ports if nat.translates else None,
        nat.unsolicited,
    )


def look_again(look: Callable[[], _Seen], said: object) -> _Seen:
    """Return what is found, with fresh sockets each time, until it is as the file has `said`, or after LOOKS.

    A NAT that gives a port once for each destination gives the same one again by chance: with few ports to
    choose from, one look in some hundreds takes another socket's port, or what that has let in, for its own.
    """
    found = look()
    for _ in range(LOOKS - 1):
        if found == said:
            break
        found = look()
    return found


class _Probe:
    """A socket and what has arrived at it: token -> from where."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.seen: dict[bytes, Endpoint] = {}
        self.refusal: int | None = None  # the error that an ICMP message became

    @property
    def own(self) -> Endpoint:
        return _endpoint(self.socket.getsockname())

    def send(self, target: Endpoint) -> bytes:
        """Send a datagram of its own kind; returns its token."""
        token = os.urandom(TOKEN)
        try:
            self.socket.sendto(token, target)
        except OSError as error:
            self.refusal = error.errno  # of an earlier datagram; this one was not sent
            with contextlib.suppress(OSError):
                self.socket.sendto(token, target)
        return token

    def drain(self) -> None:
        """Take in all that is there."""
        while True:
            try:
                token, source = self.socket.recvfrom(2 * TOKEN)
            except BlockingIOError:
                return
            except OSError as error:
                self.refusal = error.errno
            else:
                self.seen[token] = _endpoint(source)


class _Probing:
    """One site being probed."""

    def __init__(self, place: Bench) -> None:
        self.site = place.site
        self.place = place
        link = place.site.link
        self.delay = 2 * (link.delay + link.jitter) / 1e6 if link else 0.0
        lost = 1 - (1 - link.loss / 1e6) ** 3 if link else 0.0
        needed = math.log(CERTAINTY) / math.log(lost) if 0 < lost < 1 else 0.0
        self.rounds = min(MAX_ROUNDS, 2 + math.ceil(needed))
        self.stack = contextlib.ExitStack()

    def behaviour(self) -> Behaviour:
        """Everything that can be seen of the router."""
        with self.stack:
            outside = self._outside()
            first = self._inside()
            patience = PATIENCE if self.site.nat.udp is UdpPolicy.ALLOW else IMPATIENCE
            mapped = self._ask(first, outside[0], patience)
            if mapped is None:
                return Behaviour(self._what_gets_out())
            translated = mapped != first.own
            only = self.site.one_to_one is not None and len(self.site.hosts) == 1
            said = declared(self.site)
            return Behaviour(
                UdpPolicy.ALLOW,
                look_again(lambda: self._mapping(outside), said.mapping) if translated else NatMapping.NONE,
                None if only else look_again(lambda: self._filtering(outside), said.filtering),
                look_again(lambda: self._hairpin(outside), said.hairpin) if translated else None,
                self._ports(outside[0]) if translated and not only else None,
                None if self.site.one_to_one else self._unsolicited(outside),
            )

    def _outside(self) -> list[_Probe]:
        """First address and port; the same address, another port; the other address with each of the two."""
        return [self._outer(0), self._outer(0), self._outer(1), self._outer(1)]

    def _outer(self, which: int) -> _Probe:
        return _Probe(self.stack.enter_context(self.place.outside.open(which)))

    def _inside(self, which: int = 0) -> _Probe:
        return _Probe(self.stack.enter_context(self.place.inside.open(which)))

    def _what_gets_out(self) -> UdpPolicy:
        patience = IMPATIENCE if self.site.nat.udp is UdpPolicy.BLOCK else PATIENCE
        with _DNS_IN_USE, self.place.outside.open(0, DNS) as made:
            answer = self._ask(self._inside(), _Probe(made), patience)
        return UdpPolicy.BLOCK if answer is None else UdpPolicy.DNS_ONLY

    def _mapping(self, outside: Sequence[_Probe]) -> NatMapping:
        """RFC 5780, section 4.3."""
        probe = self._inside()
        here, port, there, both = (self._must(self._ask(probe, each)) for each in outside)
        if len({here, port, there, both}) == 1:
            return NatMapping.ENDPOINT_INDEPENDENT
        if here == port and there == both:
            return NatMapping.ADDRESS_DEPENDENT
        return NatMapping.ADDRESS_AND_PORT_DEPENDENT

    def _filtering(self, outside: Sequence[_Probe]) -> NatFiltering:
        """RFC 5780, section 4.4: a fresh socket that has spoken to one of them; who else gets in?

        Whoever does has to be known by its own address: an answer to anybody else would not reach it.
        """
        spoken, same_address, stranger, _ = outside
        probe = self._inside()
        mapped = self._must(self._ask(probe, spoken))
        tokens = self._after(spoken, mapped, probe, [(stranger, mapped), (same_address, mapped)])
        if any(probe.seen.get(token) == stranger.own for token in tokens[0]):
            return NatFiltering.ENDPOINT_INDEPENDENT
        if any(probe.seen.get(token) == same_address.own for token in tokens[1]):
            return NatFiltering.ADDRESS_DEPENDENT
        return NatFiltering.ADDRESS_AND_PORT_DEPENDENT

    def _hairpin(self, outside: Sequence[_Probe]) -> bool:
        """RFC 5780, section 4.5: a neighbour's packets to my mapped address come in, from *its* public one.

        Anything short of what the file says is a difference, so it is the weaker that counts.
        """
        probe, neighbour = self._inside(), self._inside(1)
        mapped = self._must(self._ask(probe, outside[0]))
        (tokens,) = self._after(outside[0], mapped, probe, [(neighbour, mapped)])
        found = tokens & probe.seen.keys()
        sources = {ip_address(probe.seen[token][0]) for token in found}
        if not self.site.nat.hairpin:
            return bool(found)
        return sources == {ip_address(mapped[0])}

    def _ports(self, outside: _Probe) -> Ports:
        """The rule by which fresh sockets get their public ports."""
        probes = [self._inside() for _ in range(SOCKETS)]
        mapped = [self._must(self._ask(probe, outside))[1] for probe in probes]
        if mapped == [probe.own[1] for probe in probes]:
            return Ports.PRESERVE
        if all(0 < later - earlier <= STEP for earlier, later in pairwise(mapped)):
            return Ports.SEQUENTIAL
        return Ports.BLOCK_512 if len({port // BLOCK for port in mapped}) == 1 else Ports.RANDOM

    def _unsolicited(self, outside: Sequence[_Probe]) -> Unsolicited:
        """What a stranger hears who knocks where nobody is."""
        probe = self._inside()
        mapped = self._must(self._ask(probe, outside[0]))
        known = {forward.port for forward in self.site.forward}
        offset = int.from_bytes(os.urandom(2), "big") % (len(QUIET_PORTS) - len(known))
        knocked = (mapped[0], [port for port in QUIET_PORTS if port not in known][offset])
        stranger = self._outer(1)
        stranger.socket.connect(knocked)
        self._after(outside[0], mapped, probe, [(stranger, knocked)])
        stranger.drain()
        match stranger.refusal:
            case None:
                return Unsolicited.DROP
            case errno.ECONNREFUSED:  # "port unreachable": the router itself has listened, and found nobody
                return Unsolicited.ACCEPT
            case _:
                return Unsolicited.REJECT

    def _after(
        self, spoken: _Probe, mapped: Endpoint, probe: _Probe, sent: Iterable[tuple[_Probe, Endpoint]]
    ) -> list[set[bytes]]:
        """Send each of `sent`, several times, and after each time prove that later packets have come through.

        Returns the tokens of each; those that passed are in what their receiver has seen.
        """
        tokens: list[tuple[_Probe, Endpoint, set[bytes]]] = [(by, to, set()) for by, to in sent]
        for _ in range(self.rounds):
            for by, to, some in tokens:
                some.add(by.send(to))
            self._must(self._deliver(spoken, mapped, probe, PATIENCE))
            self._must(self._ask(probe, spoken))
        return [some for _, _, some in tokens]

    def _ask(self, probe: _Probe, server: _Probe, patience: float = PATIENCE) -> Endpoint | None:
        """From where a datagram from inside arrives outside; None where none does."""
        return self._deliver(probe, server.own, server, patience)

    def _deliver(self, by: _Probe, to: Endpoint, at: _Probe, patience: float) -> Endpoint | None:
        """Send until it arrives; returns its source."""
        tokens = set()
        end = time.monotonic() + patience + self.delay
        pauses = iter(RESEND)
        while (now := time.monotonic()) < end:
            tokens.add(by.send(to))
            until = min(end, now + self.delay + next(pauses, RESEND[-1]))
            while (left := until - time.monotonic()) > 0:
                select.select([at.socket], [], [], left)
                at.drain()
                if arrived := tokens & at.seen.keys():
                    return at.seen[arrived.pop()]
        return None

    def _must(self, source: Endpoint | None) -> Endpoint:
        if source is None:
            raise LtkError(
                f"probing the router of {self.site.name}",
                f"what had passed before did not arrive within {PATIENCE:g} s",
                hint="Has the lab changed meanwhile? ltk status shows what differs.",
            )
        return source


def _endpoint(address: Any) -> Endpoint:
    return (str(address[0]), int(address[1]))
