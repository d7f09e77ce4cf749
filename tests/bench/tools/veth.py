"""The cable alone: what the machine does without a tunnel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from places import Underlay

from tools.tool import Pair, Tool


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    yield Pair(net.left, net.right, net.right.address)


TOOL = Tool("veth", "no tunnel and no encryption, MTU 1500", {}, ("uname", "-r"), _up)
