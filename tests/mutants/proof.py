"""A proof and the mutant on which it has to fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """`test` (a node id) fails on `mutant`, in an assertion that holds the words `because`.

    Several are alternatives: which of the test's assertions is the first to fail is up to the machine.
    """

    mutant: str
    test: str
    because: str | tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The words of which some have to be there."""
        return (self.because,) if isinstance(self.because, str) else self.because

    @property
    def where(self) -> str:
        """Where the test stands: unit or integration."""
        return self.test.split("/")[1]
