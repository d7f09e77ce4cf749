"""Nebula between two hosts that know each other's address: no lighthouse is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from places import LEFT_INSIDE, MTU, RIGHT_INSIDE, Place, Underlay, run, wait_for

from tools.tool import Pair, Tool

PORT = 4242
DEVICE = "nebula0"


@contextmanager
def _up(net: Underlay, folder: Path) -> Iterator[Pair]:
    authority = str(folder / "ca")
    run("nebula-cert", "ca", "-name", "bench", "-out-crt", authority + ".crt", "-out-key", authority + ".key")
    hosts = {LEFT_INSIDE: net.left, RIGHT_INSIDE: net.right}
    left = _configure(folder, "left", LEFT_INSIDE, hosts)
    right = _configure(folder, "right", RIGHT_INSIDE, hosts)
    with (
        net.left.running("nebula", "-config", left, log=folder / "left.log") as left_process,
        net.right.running("nebula", "-config", right, log=folder / "right.log") as right_process,
    ):
        for place in hosts.values():
            wait_for(partial(place.has_device, DEVICE), f"{DEVICE} in {place.namespace}")
        yield Pair(
            net.left, net.right, RIGHT_INSIDE, {"left": [left_process.pid], "right": [right_process.pid]}
        )


def _configure(folder: Path, side: str, inside: str, hosts: dict[str, Place]) -> str:
    """Write the configuration, which is JSON since that is YAML; return its file."""
    files = {each: str(folder / f"{side}.{each}") for each in ("crt", "key")}
    run(
        *("nebula-cert", "sign", "-name", side, "-ip", f"{inside}/24"),
        *("-ca-crt", str(folder / "ca.crt"), "-ca-key", str(folder / "ca.key")),
        *("-out-crt", files["crt"], "-out-key", files["key"]),
    )
    anybody = [{"port": "any", "proto": "any", "host": "any"}]
    value = {
        "pki": {"ca": str(folder / "ca.crt"), "cert": files["crt"], "key": files["key"]},
        "static_host_map": {
            other: [f"{place.address}:{PORT}"] for other, place in hosts.items() if other != inside
        },
        "lighthouse": {"am_lighthouse": False, "hosts": []},
        "listen": {"host": "0.0.0.0", "port": PORT},
        "tun": {"dev": DEVICE, "mtu": MTU},
        "firewall": {"outbound": anybody, "inbound": anybody},
        "logging": {"level": "warning"},
    }
    file = folder / f"{side}.yaml"
    file.write_text(json.dumps(value))
    return str(file)


TOOL = Tool(
    "nebula", "AES-256-GCM", {"nebula": "nebula", "nebula-cert": "nebula"}, ("nebula", "-version"), _up
)
