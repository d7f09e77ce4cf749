"""Two clients of ltk's and their server, configured by hand: directly, and with the server relaying."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_interface, ip_network
from pathlib import Path

from places import HUB_INSIDE, LEFT_INSIDE, MTU, RIGHT_INSIDE, Place, Underlay, run, wait_for

from ltk.node.config import DaemonConfig, PeerSettings, Role, encode_key
from ltk.protocol.config import P2p, PathPolicy
from ltk.protocol.primitives import private_key_from_random, public_key_of
from ltk.protocol.segments import largest_super_packet
from tools.tool import Pair, Tool, refuse

REPOSITORY = Path(__file__).parents[3]
PORT = 9000
DEVICE = "ltk0"
INSIDE = {"left": LEFT_INSIDE, "right": RIGHT_INSIDE, "hub": HUB_INSIDE}
STRAY = 0.05  # of the bytes on the right way may be on the other: handshakes, probes, keepalives


@contextmanager
def _up(net: Underlay, folder: Path, *, relayed: bool) -> Iterator[Pair]:
    assert net.hub is not None
    places = {"hub": net.hub, "left": net.left, "right": net.right}
    public = {name: make_key(folder / f"{name}.key") for name in places}
    with ExitStack() as stack:
        nodes = {}
        for name, place in places.items():
            peers = [_peer(name, other, public[other], relayed=relayed) for other in places if other != name]
            role = Role.SERVER if name == "hub" else Role.CLIENT
            config = daemon_config(folder, name, role, INSIDE[name], peers)
            nodes[name] = [stack.enter_context(daemon(place, config, folder))]
        if not relayed:
            wait_for(partial(_is_direct, net.left), "the direct path")
        before = _ways(net.left)
        yield Pair(net.left, net.right, RIGHT_INSIDE, nodes, partial(_check, net.left, before, relayed))


def _peer(name: str, other: str, public_key: str, *, relayed: bool) -> PeerSettings:
    is_server = other == "hub"
    return PeerSettings(
        name=other,
        role=Role.SERVER if is_server else Role.CLIENT,
        public_key=public_key,
        preshared_key_file=None,
        endpoint=f"{_hub_address(name)}:{PORT}" if is_server else None,
        allowed_ips=(ip_network(INSIDE[other]),),
        keepalive=20 if is_server else 0,
        p2p=P2p.OFF if relayed else P2p.EAGER,
        path=PathPolicy.RELAY_ONLY if relayed else PathPolicy.AUTO,
    )


def _hub_address(side: str) -> str:
    return "203.0.113.2" if side == "left" else "203.0.113.6"


def make_key(path: Path) -> str:
    """Make a private key in `path`; return its public key in base64."""
    private = private_key_from_random(os.urandom(32))
    path.touch(mode=0o600)
    path.write_text(encode_key(private))
    return encode_key(public_key_of(private))


def daemon_config(
    folder: Path, name: str, role: Role, address: str, peers: list[PeerSettings], *, prefix: int = 24
) -> DaemonConfig:
    """The configuration of one node, whose key is in `folder`."""
    return DaemonConfig(
        topology="bench",
        node=name,
        role=role,
        device=DEVICE,
        mtu=MTU,
        listen=PORT,
        isolation=False,
        private_key_file=folder / f"{name}.key",
        addresses=(ip_interface(f"{address}/{prefix}"),),
        control=folder / f"{name}.sock",
        peers=tuple(peers),
    )


@contextmanager
def daemon(place: Place, config: DaemonConfig, folder: Path) -> Iterator[int]:
    """A node at work in `place`, ready; the value is its process."""
    file, log = folder / f"{config.node}.json", folder / f"{config.node}.log"
    file.write_text(json.dumps(config.to_json()))
    place.ip(f"tuntap add {config.device} mode tun")
    for address in config.addresses:
        place.ip(f"address add {address} dev {config.device}")
    size = largest_super_packet(config.mtu)  # as the reconciler does
    place.ip(f"link set {config.device} mtu {config.mtu} gso_max_size {size} up")
    environment = {"PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"}
    words = [sys.executable, "-m", "ltk", "node", str(file)]
    with place.running(*words, log=log, environment=environment) as process:
        wait_for(
            lambda: process.poll() is not None or "is ready" in log.read_text(), f"{config.node} to be ready"
        )
        yield process.pid


def _ways(left: Place) -> tuple[int, int]:
    """Bytes that the left side has sent: to the right side itself, and to the server."""
    return left.bytes_sent("eth0"), left.bytes_sent("hub0")


def _is_direct(left: Place) -> bool:
    """Whether what is sent to the other side goes over the cable between both, and nowhere else."""
    direct, by_server = _ways(left)
    run(*left.command("ping", "-n", "-q", "-c", "5", "-i", "0.02", "-W", "2", "-s", "1000", RIGHT_INSIDE))
    now_direct, now_by_server = _ways(left)
    return now_direct - direct > 5000 and now_by_server - by_server < 3000


def _check(left: Place, before: tuple[int, int], relayed: bool) -> None:
    direct, by_server = (now - then for now, then in zip(_ways(left), before, strict=True))
    right, wrong = (by_server, direct) if relayed else (direct, by_server)
    if wrong > STRAY * right:
        name = "ltk relayed" if relayed else "ltk direct"
        raise refuse(name, f"{direct} bytes went directly and {by_server} by the server")


VERSION = (sys.executable, "-m", "ltk", "--version")
DIRECT = Tool("ltk direct", "ChaCha20-Poly1305", {}, VERSION, partial(_up, relayed=False), hub=True)
BY_SERVER = "the same, by the server on the same machine"
RELAYED = Tool("ltk relayed", BY_SERVER, {}, VERSION, partial(_up, relayed=True), hub=True)
