"""`ci/demo`, which is the first thing that a newcomer runs, in the repository itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from harness import REPOSITORY, run_ltk

LIMIT = 300.0  # seconds; where there is no .venv yet, it is made first
CARRIED = {"udp", "tcp", "icmp", "icmpv6", "other"}


@pytest.fixture
def printed() -> Iterator[str]:
    """What the demonstration prints; its topology is destroyed after the test."""
    done = subprocess.run(
        [REPOSITORY / "ci" / "demo"],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    yield done.stdout if done.returncode == 0 else f"status {done.returncode}:\n{done.stdout}"
    run_ltk("destroy", str(REPOSITORY / "topologies" / "quickstart.yaml"))


def test_the_demonstration_shows_a_tunnel_and_nothing_but_its_udp_outside(printed: str) -> None:
    for target in ("10.0.0.1", "10.0.0.3"):
        section = re.search(rf"^--- {re.escape(target)} ping statistics ---\n(.*)$", printed, re.MULTILINE)
        assert section, printed
        assert section[1].startswith("3 packets transmitted, 3 received, 0% packet loss"), printed
    assert "quickstart: up" in printed
    states = dict(re.findall(r"^ +(\w+) +(?:server|client) +10\.0\.0\.\d +(\w+) ", printed, re.MULTILINE))
    assert states == {"hub": "running", "alice": "running", "bob": "running"}, printed
    carried = {
        name: int(packets) for name, packets in re.findall(r"^  (\w+): (\d+) packets$", printed, re.MULTILINE)
    }
    assert carried.keys() == CARRIED, printed
    # three pings to the hub and three to bob, each with its answer; those to bob go by the hub
    assert carried.pop("udp") >= 3 * 2 + 3 * 4, printed
    assert set(carried.values()) == {0}, printed
    assert "\033" not in printed, "colours are for terminals"
