"""Hard NATs, broken: which ports are expected, what is kept of a search, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from ltk.protocol import search
from ltk.protocol.attempt import Attempt
from ltk.protocol.config import HardNat
from ltk.protocol.frames import Nat
from ltk.protocol.messages import Endpoint
from ltk.protocol.search import Method
from ltk.protocol.sockets import Held
from ltk.testing.breaking import mutant, replace

FAR = 40  # steps; past any window
MORE = 4


@mutant("search-expects-the-wrong-ports")
def _expects_the_wrong_ports() -> None:
    """What is expected of a NAT in sequence lies steps away from what comes."""
    right = search._ports

    def wrong(last: Endpoint, distances: Iterable[int]) -> list[Endpoint]:
        return right(last, (distance + FAR for distance in distances))

    replace(search, "_ports", wrong)


@mutant("search-closes-what-it-found")
def _closes_what_it_found() -> None:
    """When an attempt is over, its sockets are closed, and so is the one that was found."""
    tidy = Held.tidy

    def close_all(held: Held, _used: int, _now: float) -> list[int]:
        return tidy(held, 0, float("inf"))

    replace(Held, "tidy", close_all)


@mutant("search-without-bound")
def _without_bound() -> None:
    """The more ports are probed, the likelier one of them is hit."""
    some = search.random_ports

    def all_of_them(random: Callable[[int], bytes], count: int) -> list[int]:
        return some(random, MORE * count)

    replace(search, "random_ports", all_of_them)


@mutant("search-is-cut-off")
def _is_cut_off() -> None:
    """An attempt is over when plain probing would be, whatever else is under way."""
    replace(search.Search, "busy_until", property(lambda _search: float("-inf")))


@mutant("search-owes-nothing-when-late")
def _owes_nothing_when_late() -> None:
    """What would have been due by now is due in the past, for which nobody is woken."""

    def late(volley: search._Volley, _now: float) -> list[Endpoint]:
        volley.due += volley.every
        return list(islice(volley.targets, volley.at_once))

    replace(search._Volley, "next", late)


@mutant("search-ignores-the-topology")
def _ignores_the_topology() -> None:
    """Who may not search, searches."""
    choose = search.choose

    def choose_all(own: Nat, theirs: Nat, _allowed: HardNat, failures: int) -> Method:
        return choose(own, theirs, HardNat.BIRTHDAY, failures)

    replace(search, "choose", choose_all)


@mutant("search-never-leaves-a-spoiled-mapping")
def _never_leaves() -> None:
    """What has failed is tried again, just as it was."""
    choose = search.choose

    def choose_the_same(own: Nat, theirs: Nat, allowed: HardNat, _failures: int) -> Method:
        return choose(own, theirs, allowed, 0)

    replace(search, "choose", choose_the_same)


@mutant("first-probes-go-all-the-way")
def _all_the_way() -> None:
    """The first probes have the hop limit of any other."""
    replace(Attempt, "hops", property(lambda _attempt: 0))
