"""What some pings cost at the routers that they pass, by the routers' own count of data."""

from __future__ import annotations

import subprocess

from flows import DATA, PING
from harness import Lab

COUNT = 20  # pings


def count_data(lab: Lab, *places: str) -> None:
    """Count datagrams with data that each of these routers forwards."""
    for place in places:
        rules = (
            "add table inet proof\nadd counter inet proof data\n"
            "add chain inet proof count { type filter hook forward priority -10; }\n"
            f"add rule inet proof count meta l4proto udp meta length > {DATA} counter name data\n"
        )
        words = lab.command(place, "nft", "-f", "-")
        done = subprocess.run(words, input=rules, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


def spent(lab: Lab, source: str, number: int, *places: str) -> list[int]:
    """What twenty pings cost at each of the routers; none of them is lost."""
    before = [lab.counters(place, "proof")["data"] for place in places]
    result = lab.ping(source, f"10.72.0.{number}", *PING, count=COUNT)
    assert result["received"] == COUNT, result["output"]
    after = [lab.counters(place, "proof")["data"] for place in places]
    return [later - earlier for earlier, later in zip(before, after, strict=True)]
