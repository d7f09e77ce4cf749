"""n2n: two edges, and a supernode beside the left one that introduces them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from places import LEFT_INSIDE, MTU, RIGHT_INSIDE, Underlay, wait_for

from tools.tool import Pair, Tool

PORT = 7654
DEVICE = "edge0"


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    supernode = f"{net.left.address}:{PORT}"
    words = ["edge", "-d", DEVICE, "-c", "bench", "-k", "a secret", "-M", str(MTU), "-l", supernode]
    with (
        net.left.running("supernode", "-l", str(PORT), log=folder / "supernode.log") as introducer,
        net.left.running(*words, "-a", LEFT_INSIDE, log=folder / "left.log") as left,
        net.right.running(*words, "-a", RIGHT_INSIDE, log=folder / "right.log") as right,
    ):
        for place in (net.left, net.right):
            wait_for(partial(place.has_device, DEVICE), f"{DEVICE} in {place.namespace}")
        nodes = {"left": [left.pid], "right": [right.pid], "supernode": [introducer.pid]}
        yield Pair(net.left, net.right, RIGHT_INSIDE, nodes)


TOOL = Tool("n2n", "Twofish", {"edge": "n2n", "supernode": "n2n"}, ("edge", "-h"), _up)
