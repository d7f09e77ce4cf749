"""What tests of the command line have in common: a small topology, and what a run gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

YAML = """
name: small
network: {subnet: 10.0.0.0/24}
nodes:
  hub: {role: server}
  alice: {}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a run of the command line gave."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """Standard output, which must be one JSON document and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Ltk = Callable[..., Said]
