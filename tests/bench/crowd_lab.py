"""A lab's server with daemons behind NATs as its clients, and a crowd beside them, up to a whole number.

The lab is ltk's as a user has it; the crowd's peers are added to what the server's daemon was told.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import labs
from crowd import KEEPALIVE, OUTSIDE, UP_LIMIT, Crowd, peer_of
from places import Place, cpu_seconds, memory, run

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.node.config import decode_key
from ltk.node.control import ask
from ltk.protocol.primitives import private_key_from_random


def measure(daemons: int, clients: int, idle_seconds: float, folder: Path) -> dict[str, float]:
    """What a server costs that has so many `daemons` among its `clients`: as `crowd.measure`, and more.

    `status_s` is `ltk status` of the whole, `ping_s` from the first echo request to the last daemon's answer.
    Raises LtkError where a client has no session or a daemon no tunnel.
    """
    name = f"bench-crowd-{daemons}"
    file = folder / f"{name}.yaml"
    with labs.destroyed(file, labs.topology(name, daemons)):
        labs.timed("apply", str(file))
        server = Place(f"ltk-{name}-hub", "")
        run("ip", "-n", server.namespace, "address", "add", f"{OUTSIDE}/16", "dev", "lo")
        keys = [private_key_from_random(os.urandom(32)) for _ in range(clients - daemons)]
        key, port, pid = _add(name, keys)
        with contextlib.closing(Crowd()) as crowd:
            before, begin = cpu_seconds([pid]), time.monotonic()
            crowd.start(server, keys, key, port)
            crowd.run_until_up(begin + UP_LIMIT)
            values = {"up_s": time.monotonic() - begin, "up_cpu_s": cpu_seconds([pid]) - before}
            crowd.run(until=time.monotonic() + min(KEEPALIVE, idle_seconds))
            before, begin = cpu_seconds([pid]), time.monotonic()
            crowd.run(until=begin + idle_seconds)
            used = cpu_seconds([pid]) - before
            values["idle_cpu_percent"] = 100 * used / (time.monotonic() - begin)
            size = memory([pid])
            values |= {"rss_mb": size.rss / 1e6, "pss_mb": size.pss / 1e6}
            values["status_s"] = labs.timed("status", name)[0]
            values["ping_s"] = _ping_all(name, daemons)
            return values


def _add(name: str, keys: list[bytes]) -> tuple[bytes, int, int]:
    """Tell the lab's server of a peer for each key; returns its own public key, its port and its process."""
    control = paths.control_socket(name, "hub")
    told = ask(control, {"do": "config"})
    document = json.loads(json.dumps(told["config"]))
    document["peers"] += [peer_of(number, key).to_json() for number, key in enumerate(keys)]
    ask(control, {"do": "configure", "config": document}, 60.0)
    return decode_key(str(told["public_key"])), int(document["listen"]), int(str(told["pid"]))


def _ping_all(name: str, daemons: int) -> float:
    """Seconds until every daemon's place has had an answer from the server through the tunnel."""
    begin = time.perf_counter()
    for number in range(1, daemons + 1):
        words = ("ip", "netns", "exec", f"ltk-{name}-client-{number:03}")
        said = run(*words, "ping", "-n", "-q", "-c", "1", "-W", "5", labs.HUB, check=False)
        if "1 received" not in said:
            raise LtkError(f"pinging the server from client-{number:03}", said.strip())
    return time.perf_counter() - begin
