"""fastd in TUN mode.

The method is GMAC's: with UMAC, which is recommended for slower machines, Debian's fastd 22 drops every
packet ("verification failed") where the processor has PCLMULQDQ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from places import LEFT_INSIDE, MTU, RIGHT_INSIDE, Place, Underlay, run

from tools.tool import Pair, Tool

PORT = 10000
DEVICE = "fastd0"
METHOD = "salsa2012+gmac"


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    left, right = _keys(), _keys()
    files = folder / "left.conf", folder / "right.conf"
    _write(files[0], net.left, left[0], net.right, right[1])
    _write(files[1], net.right, right[0], net.left, left[1])
    with (
        net.left.running("fastd", "-c", str(files[0]), log=folder / "left.log") as left_process,
        net.right.running("fastd", "-c", str(files[1]), log=folder / "right.log") as right_process,
    ):
        net.left.adopt_device(DEVICE, LEFT_INSIDE)
        net.right.adopt_device(DEVICE, RIGHT_INSIDE)
        yield Pair(
            net.left, net.right, RIGHT_INSIDE, {"left": [left_process.pid], "right": [right_process.pid]}
        )


def _keys() -> tuple[str, str]:
    """A secret and a public key."""
    secret, public = (line.split(": ")[1] for line in run("fastd", "--generate-key").split("\n")[:2])
    return secret, public


def _write(file: Path, here: Place, secret: str, there: Place, public: str) -> None:
    file.touch(mode=0o600)
    file.write_text(
        f'interface "{DEVICE}"; mode tun; mtu {MTU}; method "{METHOD}";\n'
        f'bind {here.address}:{PORT}; secret "{secret}";\n'
        f'peer "other" {{ key "{public}"; remote {there.address}:{PORT}; }}\n'
    )


TOOL = Tool("fastd", METHOD, {"fastd": "fastd"}, ("fastd", "--version"), _up)
