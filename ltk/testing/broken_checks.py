"""What is for tests, broken: checks that believe, and labs that stay.

Daemons install mutants too, and have no use for what these break: it is imported only to be broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ltk.testing.breaking import mutant, replace

if TYPE_CHECKING:
    from ltk.testing.lab import Lab
    from ltk.topology.expected import Via
    from ltk.verify.witness import Sighting


@mutant("check-trusts-status")
def _check_trusts_status() -> None:
    """The way is what the clients say it is."""
    from ltk.verify import run

    def believing(wanted: Via, _: Sighting, told: tuple[str, str], clients: tuple[str, str]) -> str | None:
        if wanted.value in ("any", *told):
            return None
        return f"{clients} say {told}"

    replace(run, "objection", believing)


@mutant("lab-stays-up")
def _lab_stays_up() -> None:
    """What a test has brought up is left to whoever comes next."""
    from ltk.testing.lab import Lab

    def stay(_lab: Lab) -> None:
        return

    replace(Lab, "down", stay)
