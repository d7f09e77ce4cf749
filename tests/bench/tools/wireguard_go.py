"""wireguard-go, set up by `wg` and `ip` as its users do: Debian's, and a newer one where NEWER names it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from places import LEFT_INSIDE, RIGHT_INSIDE, Place, Underlay, wait_for

from tools.tool import Pair, Tool

NEWER = "LTK_WIREGUARD_GO"  # in the environment: the path of one of a later release
PORT = 51820
SOCKETS = Path("/var/run/wireguard")  # one per device name, whatever the namespace
ENVIRONMENT = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}  # it is this one that is measured


@contextmanager
def _up(program: str, net: Underlay, folder: Path) -> Iterator[Pair]:
    keys = {side: _wg("genkey").strip() for side in ("left", "right")}
    with (
        _end(program, net.left, "left", folder) as (left_device, left_pid),
        _end(program, net.right, "right", folder) as (right_device, right_pid),
    ):
        _configure(net.left, left_device, folder, keys["left"], keys["right"], net.right, RIGHT_INSIDE)
        _configure(net.right, right_device, folder, keys["right"], keys["left"], net.left, LEFT_INSIDE)
        net.left.adopt_device(left_device, LEFT_INSIDE)
        net.right.adopt_device(right_device, RIGHT_INSIDE)
        yield Pair(net.left, net.right, RIGHT_INSIDE, {"left": [left_pid], "right": [right_pid]})


@contextmanager
def _end(program: str, place: Place, side: str, folder: Path) -> Iterator[tuple[str, int]]:
    device = f"wgb{os.getpid() % 100000}{side[0]}"
    socket = SOCKETS / f"{device}.sock"
    log = folder / f"{side}.log"
    try:
        with place.running(program, "-f", device, log=log, environment=ENVIRONMENT) as process:
            wait_for(socket.is_socket, f"the socket of wireguard-go, {socket}")
            yield device, process.pid
    finally:
        socket.unlink(missing_ok=True)


def _configure(
    place: Place, device: str, folder: Path, key: str, other: str, there: Place, inside: str
) -> None:
    file = folder / f"{device}.key"
    file.touch(mode=0o600)
    file.write_text(key)
    peer = ("peer", _wg("pubkey", other).strip(), "endpoint", f"{there.address}:{PORT}")
    words = ("private-key", str(file), "listen-port", str(PORT), *peer, "allowed-ips", f"{inside}/32")
    place.run("wg", "set", device, *words)


def _wg(verb: str, given: str = "") -> str:
    done = subprocess.run(["wg", verb], input=given, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout


def _tool(name: str, program: str) -> Tool:
    programs = {program: "wireguard-go", "wg": "wireguard-tools"}
    return Tool(name, "ChaCha20-Poly1305", programs, (program, "--version"), partial(_up, program))


TOOLS = [_tool("wireguard-go", "wireguard-go")]
if NEWER in os.environ:
    TOOLS.append(_tool("wireguard-go newer", os.environ[NEWER]))
