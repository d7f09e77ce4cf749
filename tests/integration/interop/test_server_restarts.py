"""Stock clients of a server of ltk's that is killed: they notice by themselves, and come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from figures import Figure, Judge
from harness import Lab, run_ltk
from keys import public_key_in
from place import Place
from restarts import await_echoes, kill_server
from stock import wireguard_go
from streams import traffic

PHONES = 5
HUB = "10.61.0.1"


def topology() -> str:
    """A server and its stock clients, each on a network of its own."""
    phones = range(1, PHONES + 1)
    nodes = "".join(f"  phone{n}: {{role: wireguard, address: 10.61.0.{n + 1}}}\n" for n in phones)
    sites = "".join(f"    mobile{n}: {{hosts: [phone{n}]}}\n" for n in phones)
    return f"""
name: stocks
network: {{subnet: 10.61.0.0/24}}
nodes:
  hub: {{role: server, address: {HUB}}}
{nodes}
lab:
  sites:
    cloud: {{hosts: [hub]}}
{sites}"""


def test_stock_clients_are_back_within_sixteen_seconds_of_a_restart_of_the_server(
    lab: Callable[..., Lab], tmp_path: Path, held: Judge
) -> None:
    """WireGuard asks for a new session 15 s after it sent what was not answered (section 6.5)."""
    made = lab(topology())
    endpoint = json.loads(run_ltk("render", str(made.path), "-o", "json").stdout)["topology"]["nodes"]["hub"]
    kept = Path("/var/lib/ltk") / made.name
    with ExitStack() as stack:
        names = [f"phone{n}" for n in range(1, PHONES + 1)]
        for number, name in enumerate(names, 1):
            phone = stack.enter_context(wireguard_go(Place(made.scope(name)), tmp_path))
            phone.use_key(kept / f"{name}.key")
            hub_key = public_key_in(kept / "hub.key").public
            phone.add_peer(hub_key, ["10.61.0.0/24"], endpoint=endpoint["endpoint"])
            phone.bring_up([f"10.61.0.{number + 1}/24"])
        world = stack.enter_context(traffic())
        streams = [world.stream(made, name, "hub", HUB) for name in names]
        await_echoes(world, streams, time.time())
        killed = kill_server(made)
        await_echoes(world, streams, killed)
        outages = [stream.outage(killed, time.time()) for stream in streams]
    held([Figure("R3", "server killed: outage of stock clients", 16.0, tuple(outages))], PHONES)
