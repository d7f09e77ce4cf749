"""Faults and conditions, broken: less is wrong with the network than was asked for."""

from __future__ import annotations

import dataclasses

from ltk.kernel import mounts
from ltk.lab import faults as lab_faults
from ltk.lab.faults import Chain
from ltk.lab.wire import Direction
from ltk.testing.breaking import mutant, replace
from ltk.topology.expanded import Topology
from ltk.topology.faults import Block, Fault


@mutant("fault-block-one-way")
def _fault_block_one_way() -> None:
    """Of two directions that are to be blocked the second goes on."""
    make = lab_faults.chains

    def one_way(topology: Topology, fault: Fault, number: int, *, stated: bool = False) -> tuple[Chain, ...]:
        if isinstance(fault, Block) and fault.b is not None:
            fault = dataclasses.replace(fault, one_way=True)
        return make(topology, fault, number, stated=stated)

    replace(lab_faults, "chains", one_way)


@mutant("fault-secrets-in-words-only")
def _fault_secrets_in_words_only() -> None:
    """The fault is listed, and the disk takes writes as before."""
    replace(mounts, "make_read_only", lambda _folder: None)


@mutant("wire-never-reorders")
def _wire_never_reorders() -> None:
    """Every packet waits for the delay, whatever the conditions say."""
    enter = Direction.enter

    def in_order(self: Direction, frame: bytes, now: float) -> float | None:
        self._conditions = dataclasses.replace(self._conditions, reorder=0)
        return enter(self, frame, now)

    replace(Direction, "enter", in_order)


@mutant("wire-without-a-queue-limit")
def _wire_without_a_queue_limit() -> None:
    """Whatever a slow line is offered waits for it, however long."""

    def patient(self: Direction, frame: bytes, now: float) -> float | None:
        self._waiting_limit = float("inf")
        return enter(self, frame, now)

    enter = Direction.enter
    replace(Direction, "enter", patient)
