"""What has to hold in a lab that is up, and what runs in it besides the tunnel: `checks` and `run`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Claim(StrEnum):
    """What a check is about."""

    REACH = "reach"  # the second node answers the first
    UNREACHABLE = "unreachable"  # nothing of the first node's arrives at the second
    RUN = "run"  # a command ends well


class Via(StrEnum):
    """The way that packets between two clients take."""

    DIRECT = "direct"
    RELAY = "relay"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Program:
    """A shell command for a node of a lab."""

    command: str
    folder: str  # absolute; where it runs


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold. What is for another claim than its own is None, or any."""

    name: str
    claim: Claim
    nodes: tuple[str, ...]  # from, to; of a command the one in which it runs
    via: Via
    within: int  # microseconds; of an unreachable node: for so long nothing arrives
    loss: int | None  # at most, in parts per million of packets
    throughput: int | None  # at least, in bits per second
    after: tuple[str, ...]  # faults, as `ltk fault` takes them
    program: Program | None  # the command that has to end well
