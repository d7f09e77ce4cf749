"""Faults as people write them, on the command line and in `lab.faults`: words in, a checked value out.

A fault's text (`str`) reads back to an equal fault, so that whoever keeps one keeps its words.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from ltk.errors import InvalidInputError
from ltk.topology.expanded import Address, Lab, Node, Role, Site, Topology
from ltk.topology.quantities import (
    duration_text,
    parse_duration,
    parse_rate,
    parse_share,
    rate_text,
    share_text,
)
from ltk.topology.values import UnreadableError, parse_address, quote

MAX_NTH = 1_000_000  # of the messages of one class; nobody counts further by hand
MAX_SEED = 2**32 - 1  # as that of a link


class MessageClass(StrEnum):
    """What a datagram of the tunnel is to somebody who can read its first bytes and its length."""

    HANDSHAKE = "handshake"  # initiations and responses
    INITIATION = "initiation"
    RESPONSE = "response"
    COOKIE = "cookie"
    DATA = "data"  # control frames, keepalives and packets alike: all are sealed
    CONTROL = "control"  # those of them that are too short for data of any size
    RELAYED = "relayed"  # whatever it holds, by way of the server
    STUN = "stun"
    UDP = "udp"  # any at all


@dataclass(frozen=True, slots=True)
class Block:
    """Nothing passes between `a` and `b`, or between `a` and everybody (None); one way: from `a`."""

    a: str
    b: str | None = None
    one_way: bool = False
    udp: bool = False  # and nothing but UDP is blocked

    def __str__(self) -> str:
        return _joined(
            "block", self.a, self.b or "", "--one-way" if self.one_way else "", "--udp" if self.udp else ""
        )


@dataclass(frozen=True, slots=True)
class Drop:
    """Messages of one class from `source` to `target` are dropped: all, or the first-th to the last-th."""

    source: str
    target: str
    kind: MessageClass
    first: int | None = None  # from 1, counted since the fault began
    last: int | None = None

    def __str__(self) -> str:
        nth = "" if self.first is None else f"--nth {self.first}"
        if self.last != self.first:
            nth += f"-{self.last}"
        return _joined("drop", self.source, self.target, f"--class {self.kind}", nth)


@dataclass(frozen=True, slots=True)
class FlushNat:
    """A site's router forgets every mapping; with `new_ports` those that follow are none that it gave."""

    site: str
    new_ports: bool = False

    def __str__(self) -> str:
        return _joined("flush-nat", self.site, "--new-ports" if self.new_ports else "")


@dataclass(frozen=True, slots=True)
class ChangeAddress:
    """A host, or a site's router on its outer side, has other addresses; () leaves the choice open."""

    place: str
    addresses: tuple[Address, ...] = ()

    def __str__(self) -> str:
        return _joined("address", self.place, *map(str, self.addresses))


@dataclass(frozen=True, slots=True)
class Move:
    """A node stands in another site; `addresses` are its own there, () leaves the choice open."""

    node: str
    site: str
    addresses: tuple[Address, ...] = ()

    def __str__(self) -> str:
        return _joined("move", self.node, self.site, *map(str, self.addresses))


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """The link of a site, or the cable of a host, has these conditions; those not named stay."""

    place: str
    changes: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        words = (f"{key}={CONDITIONS[key][1](value)}" for key, value in self.changes)
        return _joined("link", self.place, *words)


@dataclass(frozen=True, slots=True)
class Kill:
    """A node's daemon is killed (SIGKILL) and not started again."""

    node: str

    def __str__(self) -> str:
        return f"kill {self.node}"


@dataclass(frozen=True, slots=True)
class Stop:
    """A node's daemon stands still (SIGSTOP)."""

    node: str

    def __str__(self) -> str:
        return f"stop {self.node}"


@dataclass(frozen=True, slots=True)
class RemoveTun:
    """A node's TUN device is deleted."""

    node: str

    def __str__(self) -> str:
        return f"tun {self.node}"


@dataclass(frozen=True, slots=True)
class ReadOnlySecrets:
    """The disk on which the lab's keys lie is read-only: they can be read, and none can be written."""

    def __str__(self) -> str:
        return "secrets read-only"


Fault: TypeAlias = (
    Block | Drop | FlushNat | ChangeAddress | Move | ChangeLink | Kill | Stop | RemoveTun | ReadOnlySecrets
)


def _seed(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and int(value) <= MAX_SEED:
        return int(value)
    raise UnreadableError(f"should be a whole number up to {MAX_SEED}, is {quote(value)}")


CONDITIONS: Final[dict[str, tuple[Callable[[object], int], Callable[[int], str]]]] = {
    "rate": (parse_rate, rate_text),
    "delay": (parse_duration, duration_text),
    "jitter": (parse_duration, duration_text),
    "loss": (parse_share, share_text),
    "reorder": (parse_share, share_text),
    "duplicate": (parse_share, share_text),
    "seed": (_seed, str),
}
USAGE: Final = {
    "block": "block A [B] [--one-way] [--udp]",
    "drop": "drop A B --class CLASS [--nth N|FIRST-LAST]",
    "flush-nat": "flush-nat SITE [--new-ports]",
    "address": "address PLACE [ADDRESS]",
    "move": "move NODE SITE [ADDRESS]",
    "kill": "kill NODE",
    "stop": "stop NODE",
    "tun": "tun NODE",
    "link": "link PLACE KEY=VALUE…",
    "secrets": "secrets read-only",
}
_FLAGS = {"block": {"--one-way", "--udp"}, "flush-nat": {"--new-ports"}}
_VALUED = {"drop": {"--class", "--nth"}}
_NTH = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")


def parse(words: str | Sequence[str], topology: Topology) -> Fault:
    """The fault that `words` say, on the places of `topology`.

    Raises InvalidInputError for words that are none, for places that do not exist, and where the fault
    could have no effect there.
    """
    try:
        given = shlex.split(words) if isinstance(words, str) else list(words)
    except ValueError as error:
        raise InvalidInputError(f"reading the fault {words!r}", str(error)) from None
    reader = _Reader(given, topology)
    return reader.fault()


@dataclass(slots=True)
class _Reader:
    """The words of one fault, and the network that they are about."""

    words: list[str]
    topology: Topology

    def fault(self) -> Fault:
        lab = self.topology.lab
        if lab is None:
            raise self._refused(
                "the topology has no lab", "Faults are for the network of a lab, which is ltk's own."
            )
        if not self.words or self.words[0] not in USAGE:
            word = self.words[0] if self.words else "nothing"
            near = difflib.get_close_matches(word, USAGE, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(USAGE)}."
            raise self._refused(f"there is no fault {quote(word)}", hint)
        places, options = self._sorted(self.words[0], self.words[1:])
        match self.words[0], places:
            case "block", [a]:
                return Block(self._place(a), None, "--one-way" in options, "--udp" in options)
            case "block", [a, b]:
                self._two(lab, a, b)
                return Block(a, b, "--one-way" in options, "--udp" in options)
            case "drop", [a, b]:
                self._two(lab, a, b)
                return Drop(a, b, self._class(options), *self._nth(options))
            case "flush-nat", [site]:
                self._site(lab, site, with_nat=True)
                return FlushNat(site, "--new-ports" in options)
            case "address", [place, *rest]:
                return ChangeAddress(self._place(place), self._addresses(rest))
            case "move", [node, site, *rest]:
                self._movable(lab, node, site)
                return Move(node, site, self._addresses(rest))
            case "link", [place, first, *rest]:
                return ChangeLink(self._place(place), tuple(self._conditions([first, *rest])))
            case "kill", [node]:
                return Kill(self._daemon(node).name)
            case "stop", [node]:
                return Stop(self._daemon(node).name)
            case "tun", [node]:
                return RemoveTun(self._daemon(node).name)
            case "secrets", ["read-only"]:
                return ReadOnlySecrets()
        raise self._refused("it has too few words, or too many")

    def _sorted(self, verb: str, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The places, and the options with their values ("" for a flag)."""
        places: list[str] = []
        options: dict[str, str] = {}
        rest = iter(words)
        for word in rest:
            name, sign, value = word.partition("=")
            if not word.startswith("--"):
                places.append(word)
            elif word in _FLAGS.get(verb, ()):
                options[word] = ""
            elif name in _VALUED.get(verb, ()):
                options[name] = value if sign else next(rest, "")
            else:
                raise self._refused(f"it has no option {quote(name)}")
        return places, options

    def _names(self) -> list[str]:
        sites = [site.name for site in self.topology.lab.sites] if self.topology.lab else []
        return [*(node.name for node in self.topology.nodes), *sites]

    def _place(self, name: str) -> str:
        if name not in self._names():
            raise self._unknown(name, "node or site", self._names())
        return name

    def _site(self, lab: Lab, name: str, *, with_nat: bool = False) -> Site:
        names = [site.name for site in lab.sites if site.nat.translates or not with_nat]
        if name not in names:
            if name in (site.name for site in lab.sites):
                raise self._refused(
                    f"{name} has no NAT", f"Sites with one are: {', '.join(names) or 'none'}."
                )
            raise self._unknown(name, "site", names)
        return lab.site(name)

    def _node(self, name: str) -> Node:
        names = [node.name for node in self.topology.nodes]
        if name not in names:
            raise self._unknown(name, "node", names)
        return self.topology.node(name)

    def _daemon(self, name: str) -> Node:
        node = self._node(name)
        if node.role is Role.WIREGUARD:
            raise self._refused(f"{name} is a stock WireGuard peer, which ltk does not run")
        return node

    def _two(self, lab: Lab, a: str, b: str) -> None:
        """Two places, of which none is inside of the other."""
        self._place(a), self._place(b)
        if a == b:
            raise self._refused("it names one place twice")
        for inner, outer in ((a, b), (b, a)):
            if outer in outwards(lab, inner):
                raise self._refused(
                    f"{inner} stands behind {outer}", f"To cut it off from everybody: block {inner}"
                )

    def _movable(self, lab: Lab, name: str, site: str) -> None:
        node = self._node(name)
        self._site(lab, site)
        if node.role is Role.SERVER:
            raise self._refused(
                "clients find the server where the file puts it", "Change the file, and apply it."
            )
        if lab.site_of(name).name == site:
            raise self._refused(f"{name} stands in {site} already")

    def _class(self, options: dict[str, str]) -> MessageClass:
        kinds = [kind.value for kind in MessageClass]
        if options.get("--class") not in kinds:
            given = quote(options["--class"]) if "--class" in options else "missing"
            raise self._refused(f"--class is {given}", f"There are: {', '.join(kinds)}.")
        return MessageClass(options["--class"])

    def _nth(self, options: dict[str, str]) -> tuple[int | None, int | None]:
        if "--nth" not in options:
            return None, None
        found = _NTH.fullmatch(options["--nth"])
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= MAX_NTH:
            raise self._refused(
                f"--nth is {quote(options['--nth'])}",
                f"It is a number from 1 to {MAX_NTH}, or two, such as 1-5.",
            )
        return first, last

    def _addresses(self, words: Sequence[str]) -> tuple[Address, ...]:
        try:
            found = tuple(parse_address(word) for word in words)
        except UnreadableError as error:
            raise self._refused(error.words) from None
        if len({each.version for each in found}) != len(found):
            raise self._refused("it has two addresses of one family")
        return found

    def _conditions(self, words: Sequence[str]) -> Iterator[tuple[str, int]]:
        stated: dict[str, int] = {}
        for word in words:
            key, _, value = word.partition("=")
            if key not in CONDITIONS:
                raise self._refused(f"a link has no {quote(key)}", f"There are: {', '.join(CONDITIONS)}.")
            try:
                stated[key] = CONDITIONS[key][0](value)
            except UnreadableError as error:
                raise self._refused(f"{key} {error.words}") from None
        return ((key, stated[key]) for key in CONDITIONS if key in stated)

    def _unknown(self, name: str, what: str, names: Sequence[str]) -> InvalidInputError:
        near = [] if name in self._names() else difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names) or 'none'}."
        return self._refused(f"there is no {what} {quote(name)}", hint)

    def _refused(self, problem: str, hint: str | None = None) -> InvalidInputError:
        verb = self.words[0] if self.words else ""
        if hint is None and verb in USAGE:
            hint = f"It is: {USAGE[verb]}"
        return InvalidInputError(f"reading the fault {' '.join(self.words)!r}", problem, hint=hint)


def outwards(lab: Lab, place: str) -> list[str]:
    """The sites whose routers a packet of `place` passes on its way to the internet; not `place` itself."""
    sites = {site.name: site for site in lab.sites}
    found: list[str] = []
    at = sites[place].behind if place in sites else lab.site_of(place).name
    while at is not None:
        found.append(at)
        at = sites[at].behind
    return found


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
