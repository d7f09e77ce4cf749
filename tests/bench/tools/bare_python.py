"""Two processes in Python that do what no tunnel in Python can do without: the least that ltk can cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from places import LEFT_INSIDE, MTU, RIGHT_INSIDE, Underlay, wait_for

from tools.tool import Pair, Tool

PROGRAM = Path(__file__).parents[1] / "bare_program.py"
PORT = 9100
DEVICE = "bare0"


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    ends = {"left": (net.left, net.right, LEFT_INSIDE), "right": (net.right, net.left, RIGHT_INSIDE)}
    nodes = {}
    with ExitStack() as stack:
        for name, (place, other, inside) in ends.items():
            place.ip(f"tuntap add {DEVICE} mode tun")
            place.ip(f"address add {inside}/24 dev {DEVICE}")
            place.ip(f"link set {DEVICE} mtu {MTU} up")
            log = folder / f"{name}.log"
            words = (sys.executable, str(PROGRAM), DEVICE, str(PORT), other.address)
            nodes[name] = [stack.enter_context(place.running(*words, log=log)).pid]
            wait_for(partial(_is_ready, log), f"the {name} end to be ready")
        yield Pair(net.left, net.right, RIGHT_INSIDE, nodes)


def _is_ready(log: Path) -> bool:
    return "is ready" in log.read_text()


ABOUT = "ChaCha20-Poly1305, packet by packet, and no protocol at all"
TOOL = Tool("bare python", ABOUT, {}, (sys.executable, "--version"), _up)
