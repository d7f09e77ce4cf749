"""What a router calls its own devices."""

from __future__ import annotations

from typing import Final

WAN: Final = "wan"
LAN: Final = "lan"
