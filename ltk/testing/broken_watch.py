"""The watch and what is somebody else's, broken: events are lost, others are fought with or robbed."""

from __future__ import annotations

import math

from ltk.kernel import messages
from ltk.kernel.events import Events
from ltk.kernel.messages import Network, Request
from ltk.reconcile import apply, plan
from ltk.reconcile.apply import Listener, Outcome
from ltk.reconcile.fights import Fights
from ltk.reconcile.resources import Key, State
from ltk.reconcile.vigil import Vigil
from ltk.testing.breaking import mutant, replace
from ltk.topology.expanded import Topology


@mutant("watch-deaf-after-overflow")
def _deaf_after_overflow() -> None:
    """What the kernel had no room to tell is taken for nothing."""
    replace(Events, "_overflowed", lambda _: False)


@mutant("watch-fights-at-full-speed")
def _fights_at_full_speed() -> None:
    """Whatever is changed back is repaired at once, each time."""

    def at_once(_: Fights, _key: Key) -> float:
        return -math.inf

    replace(Fights, "may_be_repaired", at_once)


@mutant("watch-looks-at-each-event")
def _looks_at_each_event() -> None:
    """A look is due as soon as anything is heard."""

    def at_once(vigil: Vigil) -> float:
        return vigil._owed if vigil._since is None else vigil._since

    replace(Vigil, "due", property(at_once))


@mutant("adopt-unasked")
def _adopt_unasked() -> None:
    """What is in the way is taken over without anybody having asked for it."""
    converge = apply.converge

    def adopting_converge(
        topology: Topology, listener: Listener, only: tuple[str, ...] = (), **_asked: bool
    ) -> Outcome:
        return converge(topology, listener, only, adopting=True)

    replace(apply, "converge", adopting_converge)


@mutant("route-of-others-replaced")
def _route_of_others_replaced() -> None:
    """A route is put where it belongs whatever is there."""

    def in_its_place(
        destination: Network, index: int, device: str, gateway: str | None, **_apart: int
    ) -> Request:
        return messages.take_over_route(destination, index, device, gateway)

    def refuse_nothing(_want: State, _have: State, _foreign: object) -> None:
        return None

    replace(messages, "add_route", in_its_place)
    replace(plan, "_refuse_foreign", refuse_nothing)
