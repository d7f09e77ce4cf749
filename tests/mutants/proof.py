"""A proof and the mutant on which it has to fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """`test` (a node id) fails on `mutant`, in an assertion that holds the words `because`."""

    mutant: str
    test: str
    because: str

    @property
    def where(self) -> str:
        """Where the test stands: unit or integration."""
        return self.test.split("/")[1]
