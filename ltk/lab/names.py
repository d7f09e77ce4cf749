"""What a router calls its own devices, and the table in which faults of the network are."""

from __future__ import annotations

from typing import Final

WAN: Final = "wan"
LAN: Final = "lan"
FAULTS: Final = ("inet", "ltk_fault")  # family and name
