"""The simulated network: segments, the routers between them, and what happens on the way.

A NAT is described by the terms of RFC 4787: how it maps (section 4.1), how it filters (section 5), whether
it preserves ports (section 4.2), whether it hairpins (section 6) and how long it remembers (section 4.3).
Only what goes out refreshes a mapping, and each remote for itself, which is the least that a NAT does.

A datagram passes the NATs on its way out when it is sent, and those on its way in when it arrives.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple, Protocol

from ltk.protocol.config import HardNat
from ltk.protocol.messages import Endpoint

INTERNET_DELAY = 0.020  # seconds, one way
LAN_DELAY = 0.0005
SPOILED_FOR = 30.0  # seconds; Linux's nf_conntrack_udp_timeout
_PORTS = range(20_000, 60_000)  # from which a NAT draws


class Mapping(Enum):
    """What an inside endpoint must send to, to be seen from one and the same outside port."""

    ENDPOINT_INDEPENDENT = "EIM"
    ADDRESS_DEPENDENT = "ADM"
    ADDRESS_AND_PORT_DEPENDENT = "APDM"


class Filtering(Enum):
    """Who may send to an outside port: anybody, or an address or endpoint to which it has sent."""

    ENDPOINT_INDEPENDENT = "EIF"
    ADDRESS_DEPENDENT = "ADF"
    ADDRESS_AND_PORT_DEPENDENT = "APDF"


@dataclass(frozen=True, slots=True)
class NatKind:
    """How a NAT behaves. `lifetime` is in seconds; a mapping by destination cannot preserve ports."""

    mapping: Mapping
    filtering: Filtering
    preserves: bool = True
    hairpins: bool = False
    lifetime: float = 120.0
    step: int = 0  # from one mapping's port to the next one's; 0: at random
    poisonable: bool = False  # what nobody has asked for is the router's own, and its port is taken then

    def __str__(self) -> str:
        more = "-sequential" * bool(self.step) + "-poisonable" * self.poisonable
        return f"{self.mapping.value}/{self.filtering.value}{more}"

    @property
    def maps_by_destination(self) -> bool:
        return self.mapping is not Mapping.ENDPOINT_INDEPENDENT

    @property
    def is_hard(self) -> bool:
        """Whether a stranger gets in only by being what this side has sent to, exactly."""
        return self.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT or (
            self.maps_by_destination and self.filtering is not Filtering.ENDPOINT_INDEPENDENT
        )


FULL_CONE = NatKind(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT)
RESTRICTED_CONE = NatKind(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)
PORT_RESTRICTED = NatKind(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
HOME = NatKind(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, hairpins=True)
SYMMETRIC = NatKind(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, preserves=False)
SEQUENTIAL = replace(SYMMETRIC, step=1)
POISONABLE = replace(PORT_RESTRICTED, poisonable=True)
ALL_CLASSES = tuple(
    NatKind(mapping, filtering, preserves=mapping is Mapping.ENDPOINT_INDEPENDENT)
    for mapping in Mapping
    for filtering in Filtering
)


class Datagram(NamedTuple):
    """A datagram where it is looked at: `source` is as far translated as the datagram has come.

    `origin` names the host that sent it, which its receiver does not know. `proof` is the moment at
    which the origin had last received something from `destination`, minus infinity for never: what
    arrives proves that the path worked both ways since then. `hops` is how many routers it may still pass.
    """

    origin: str
    source: Endpoint
    destination: Endpoint
    data: bytes
    proof: float
    hops: int = 64


class Device(Protocol):
    """Anything with an address on a segment."""

    def receive(self, datagram: Datagram) -> None: ...


@dataclass
class Wire:
    """What happens on a segment: seconds and probabilities. `lose` decides about single datagrams."""

    delay: float
    jitter: float = 0.0  # added at random: more than the gap between two datagrams reorders them
    loss: float = 0.0
    duplicate: float = 0.0
    lose: Callable[[Datagram], bool] | None = None
    hold: Callable[[Datagram], float] | None = None  # seconds that single datagrams take longer


@dataclass
class Segment:
    """Devices without a router in between. What is for none of them goes to the gateway, if there is one.

    `blocked` are pairs of addresses between which nothing passes from the first to the second.
    """

    clock: Clock
    wire: Wire
    gateway: Nat | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    blocked: set[tuple[str, str]] = field(default_factory=set)

    def send(self, datagram: Datagram) -> None:
        """Carry a datagram out through the gateways up to where its destination is, or to nowhere."""
        segment = self
        hairpins = False
        while datagram.destination.address not in segment.devices:
            nat = segment.gateway
            if nat is None:
                return
            if datagram.hops <= 1:
                return
            source, destination = nat.outbound(datagram.source, datagram.destination)
            datagram = datagram._replace(source=source, destination=destination, hops=datagram.hops - 1)
            hairpins = datagram.destination.address == nat.address
            segment = nat.outside
        if segment.gateway is None:  # the internet has routers of its own
            datagram = datagram._replace(hops=datagram.hops - 1)
        if datagram.hops and (not hairpins or nat.kind.hairpins):
            segment.carry(datagram)

    def carry(self, datagram: Datagram) -> None:
        """Do to a datagram what the wire does, and let what is left of it arrive."""
        if (datagram.source.address, datagram.destination.address) in self.blocked:
            return
        wire, clock = self.wire, self.clock
        if wire.loss and clock.random.random() < wire.loss:
            return
        if wire.lose is not None and wire.lose(datagram):
            return
        delay = wire.delay if wire.hold is None else wire.delay + wire.hold(datagram)
        copies = 2 if wire.duplicate and clock.random.random() < wire.duplicate else 1
        for _ in range(copies):
            jitter = clock.random.random() * wire.jitter if wire.jitter else 0.0
            clock.after(delay + jitter, self._arrive, datagram)

    def _arrive(self, datagram: Datagram) -> None:
        device = self.devices.get(datagram.destination.address)
        if device is not None:
            device.receive(datagram)


class _Binding:
    """One mapping: the inside endpoint, and until when which remote keeps it."""

    __slots__ = ("inside", "remotes")

    def __init__(self, inside: Endpoint) -> None:
        self.inside = inside
        self.remotes: dict[Endpoint, float] = {}


class Nat:
    """A router whose inside is seen from outside by one address. It is the gateway of `inside`.

    What is let in to a mapping that was made for another remote is a session of its own, as connection
    tracking has it: its answers leave by the same port. Where the host already speaks to that remote
    from another port, the two sessions could not be told apart inside: the new one is shown with another
    source.
    """

    def __init__(self, kind: NatKind, address: str, outside: Segment) -> None:
        self.kind = kind
        self.address = address
        self.outside = outside
        self._clock = outside.clock
        self.inside = Segment(outside.clock, Wire(LAN_DELAY), gateway=self)
        self._ports: dict[object, int] = {}  # by what the mapping depends on
        self._bindings: dict[int, _Binding] = {}  # by outside port
        self._shown_as: dict[tuple[int, Endpoint], Endpoint] = {}  # outside port and remote: source inside
        self._remotes: dict[tuple[Endpoint, Endpoint], tuple[int, Endpoint]] = {}  # and back
        self._preserves = kind.preserves and not kind.maps_by_destination
        self._last = outside.clock.random.choice(_PORTS) if kind.step else 0  # of the ports in sequence
        self._spoiled: dict[tuple[int, Endpoint], float] = {}  # outside port and remote: until when
        outside.devices[address] = self

    def outbound(self, source: Endpoint, destination: Endpoint) -> tuple[Endpoint, Endpoint]:
        """Translate what goes out, which makes or refreshes a mapping."""
        if (source, destination) in self._remotes:
            port, destination = self._remotes[source, destination]
        else:
            key = self._key(source, destination)
            known = self._ports.get(key)
            wanted = known if known is not None else source.port
            is_spoiled = self._spoiled.get((wanted, destination), -math.inf) > self._clock.now
            if is_spoiled:
                key = "spoiled", source, destination
                known = self._ports.get(key)
            alive = known is not None and self._is_alive(self._bindings[known])
            preserves = self._preserves and not is_spoiled
            port = known if known is not None and alive else self._bind(source, key, preserves=preserves)
        self._bindings[port].remotes[destination] = self._clock.now + self.kind.lifetime
        return Endpoint(self.address, port), destination

    def _key(self, source: Endpoint, destination: Endpoint) -> object:
        match self.kind.mapping:
            case Mapping.ENDPOINT_INDEPENDENT:
                return source
            case Mapping.ADDRESS_DEPENDENT:
                return source, destination.address
            case _:
                return source, destination

    def _is_alive(self, binding: _Binding) -> bool:
        return any(until > self._clock.now for until in binding.remotes.values())

    def _bind(self, source: Endpoint, key: object, *, preserves: bool) -> int:
        for dead in [port for port, binding in self._bindings.items() if not self._is_alive(binding)]:
            del self._bindings[dead]
        self._ports = {known: port for known, port in self._ports.items() if port in self._bindings}
        self._shown_as = {one: shown for one, shown in self._shown_as.items() if one[0] in self._bindings}
        self._remotes = {one: back for one, back in self._remotes.items() if back[0] in self._bindings}
        port = source.port
        while not preserves or port in self._bindings:
            if self.kind.step:
                self._last = port = self._last + self.kind.step
            else:
                port = self._clock.random.choice(_PORTS)
            if port not in self._bindings:
                break
        self._ports[key] = port
        self._bindings[port] = _Binding(source)
        return port

    def receive(self, datagram: Datagram) -> None:
        """Translate what comes in and hand it on, unless it was not asked for."""
        binding = self._bindings.get(datagram.destination.port)
        if binding is None or not self._lets_in(binding, datagram.source):
            if self.kind.poisonable:
                self.spoil(datagram.destination.port, datagram.source)
            return
        if datagram.hops <= 1:
            return
        device = self.inside.devices.get(binding.inside.address)
        if device is not None:
            source = self._source_inside(binding, datagram.destination.port, datagram.source)
            device.receive(
                datagram._replace(source=source, destination=binding.inside, hops=datagram.hops - 1)
            )

    def spoil(self, port: int, remote: Endpoint, *, for_ever: bool = False) -> None:
        """Let the router itself have a port towards a remote: what the inside sends there gets another."""
        self._spoiled[port, remote] = math.inf if for_ever else self._clock.now + SPOILED_FOR

    def take(self, count: int) -> None:
        """Give so many ports in sequence to others."""
        self._last += count * self.kind.step

    def _source_inside(self, binding: _Binding, port: int, remote: Endpoint) -> Endpoint:
        if (port, remote) in self._shown_as:
            return self._shown_as[port, remote]
        if remote in binding.remotes:
            return remote
        if self._ports.setdefault(self._key(binding.inside, remote), port) == port:
            return remote
        shown = Endpoint(remote.address, self._clock.random.choice(_PORTS))
        self._shown_as[port, remote] = shown
        self._remotes[binding.inside, shown] = port, remote
        return shown

    def _lets_in(self, binding: _Binding, source: Endpoint) -> bool:
        now = self._clock.now
        match self.kind.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                return self._is_alive(binding)
            case Filtering.ADDRESS_DEPENDENT:
                return any(
                    remote.address == source.address and until > now
                    for remote, until in binding.remotes.items()
                )
            case _:
                return binding.remotes.get(source, -math.inf) > now

    def flush(self, *, new_ports: bool) -> None:
        """Forget all mappings. With `new_ports`, none is given the port that it had."""
        for memory in (self._ports, self._bindings, self._shown_as, self._remotes):
            memory.clear()
        if new_ports:
            self._preserves = False

    def move(self, address: str) -> None:
        """Be somewhere else from now on, with no memory."""
        del self.outside.devices[self.address]
        self.address = address
        self.outside.devices[address] = self
        self.flush(new_ports=False)


def can_be_direct(one: NatKind | None, other: NatKind | None) -> bool:
    """Whether two sides, each behind a NAT of its own or none, can reach each other by simultaneous punching.

    It fails only where both let in nothing but what they have sent to, exactly, and one of them
    is seen from a port that the other cannot know.
    """
    if one is None or other is None:
        return True
    return not (one.is_hard and other.is_hard and (one.maps_by_destination or other.maps_by_destination))


def method(one: NatKind | None, other: NatKind | None, allowed: HardNat = HardNat.BIRTHDAY) -> str | None:
    """How two sides reach each other where `allowed` is the most that they do for it; None: not at all.

    To who asks one server, a mapping by address looks as if it were for everybody: what is sent from there
    comes by another port than the one that is expected.
    """
    if can_be_direct(one, other):
        return "plain"
    sides = [kind for kind in (one, other) if kind is not None]
    hard = [kind for kind in sides if kind.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT]
    by_address = any(kind.mapping is Mapping.ADDRESS_DEPENDENT for kind in sides)
    if allowed is HardNat.OFF or not hard:
        return None
    if by_address and any(kind.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT for kind in hard):
        return None
    if all(kind.step for kind in hard):
        return "prediction"
    return "birthday" if len(hard) == 1 and allowed is HardNat.BIRTHDAY else None


class Clock:
    """The time, what is due at it, and the one source of chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.steps = 0
        self._due: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()

    def at(self, moment: float, call: Callable[..., None], *arguments: object) -> None:
        """Call at `moment`, or now if that has passed; in the order of asking where moments are equal."""
        heapq.heappush(self._due, (max(moment, self.now), next(self._order), call, arguments))

    def after(self, delay: float, call: Callable[..., None], *arguments: object) -> None:
        """Call in `delay` seconds."""
        heapq.heappush(self._due, (self.now + delay, next(self._order), call, arguments))

    def step(self, end: float) -> bool:
        """Do what is due first, if that is not after `end`."""
        if not self._due or self._due[0][0] > end:
            return False
        self.now, _, call, arguments = heapq.heappop(self._due)
        self.steps += 1
        call(*arguments)
        return True
