"""What was seen of a pair of clients for a moment: what they said, and what their routers have counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows import seen
from routers import Tally


@dataclass(frozen=True, slots=True)
class Said:
    """What a node's status says of its way to the other, and of how that came about."""

    path: str
    switches: int
    failures: int
    reason: str

    @classmethod
    def of(cls, status: Mapping[str, Any], node: str, other: str) -> Said:
        """Out of the JSON of `ltk status`; all empty where there is nothing about them."""
        peers = [each for each in status["nodes"] if each["name"] == node]
        found = [peer for each in peers for peer in each["peers"] if peer["name"] == other]
        if not found:
            return cls("", 0, 0, "nothing is said")
        (peer,) = found
        return cls(peer["path"], peer["switches"], peer["direct_failures"], peer["reason"])


@dataclass(frozen=True, slots=True)
class Side:
    """One client: what it said before and after, and what its router has counted between that."""

    before: Said
    after: Said
    carried: int  # datagrams of its own that the other has heard
    counted: Tally

    @property
    def said(self) -> str:
        """The way that it said to use all the while; nothing where that has changed."""
        same = (self.before.path, self.before.switches) == (self.after.path, self.after.switches)
        return self.after.path if same else ""

    @property
    def is_direct(self) -> bool:
        """It says so, and its data goes out and comes in that way."""
        due, counted = seen(self.carried), self.counted
        return self.said == "direct" and min(counted.direct_out, counted.direct_in) >= due > 0

    @property
    def is_relayed(self) -> bool:
        """It says so, and its data goes out and comes in by way of the hub alone."""
        due, counted = seen(self.carried), self.counted
        none_direct = counted.direct_out == counted.direct_in == 0
        return self.said == "relay" and none_direct and min(counted.relay_out, counted.relay_in) >= due > 0

    @property
    def lie(self) -> str:
        """How what it said differs from what its router has counted; nothing where it does not."""
        counted = self.counted
        match self.said:
            case "direct" if counted.direct_out < seen(self.carried):
                return f"says direct, and sent {counted.direct_out} of {self.carried} that way"
            case "relay" if counted.direct_out:
                return f"says relay, and sent {counted.direct_out} of {self.carried} directly"
            case "none" if counted.direct_out or counted.relay_out:
                return f"says that there is no way, and sent {counted.direct_out + counted.relay_out}"
        return ""

    def __str__(self) -> str:
        counted = self.counted
        return (
            f"{self.said or 'changed'} ({self.after.reason}), direct {counted.direct_out} out"
            f" {counted.direct_in} in, by the hub {counted.relay_out} out {counted.relay_in} in"
        )


@dataclass(frozen=True, slots=True)
class Look:
    """Some datagrams of a pair from the first side to the second, and back."""

    sent: int
    echoed: int
    sides: tuple[Side, Side]

    @property
    def is_direct(self) -> bool:
        """All data came back, straight from one router to the other, and none by way of the hub."""
        by_hub = sum(side.counted.relay_out for side in self.sides)
        return self.echoed == self.sent and not by_hub and all(side.is_direct for side in self.sides)

    @property
    def is_relayed(self) -> bool:
        """All data came back by way of the hub, and none was sent straight."""
        return self.echoed == self.sent and all(side.is_relayed for side in self.sides)

    @property
    def is_silent(self) -> bool:
        """Nothing came back, and nothing was sent straight."""
        return self.echoed == 0 and all(side.counted.direct_out == 0 for side in self.sides)

    @property
    def goes_straight(self) -> bool:
        """Whether a side sent data straight to the other, or got any."""
        return any(side.counted.direct_out or side.counted.direct_in for side in self.sides)

    @property
    def claims_direct(self) -> bool:
        """Whether a side said to be direct all the while."""
        return any(side.said == "direct" for side in self.sides)

    @property
    def has_failed(self) -> bool:
        """Whether the side that began has looked for a direct path in vain."""
        return self.sides[0].after.failures > 0

    @property
    def lie(self) -> str:
        """What was said that is not so; nothing where all is."""
        told = [f"{name} {side.lie}" for name, side in zip("ab", self.sides, strict=True) if side.lie]
        return " and ".join(told)

    def __str__(self) -> str:
        a, b = self.sides
        return f"{self.echoed} of {self.sent} came back; a: {a}; b: {b}"
