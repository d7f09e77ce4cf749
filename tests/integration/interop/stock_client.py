"""wireguard-go as a node of a network that ltk has brought up: configured as its owner would do it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Lab, run_ltk
from keys import public_key_in
from place import Place
from stock import Stock, wireguard_go


@contextmanager
def stock_client(lab: Lab, node: str, folder: Path) -> Iterator[Stock]:
    """The node's wireguard-go, up: it sends the network, and what is routed behind the hub, to the hub."""
    told = topology(lab)
    kept = Path("/var/lib/ltk") / lab.name
    hub = told["nodes"]["hub"]
    subnets = [ipaddress.ip_network(each) for each in listed(told["network"]["subnet"])]
    behind = listed(hub.get("routes", []))
    with wireguard_go(Place(lab.scope(node)), folder) as stock:
        stock.use_key(kept / f"{node}.key")
        stock.add_peer(
            public_key_in(kept / "hub.key").public,
            [str(each) for each in subnets] + behind,
            endpoint=hub["endpoint"],
        )
        own = [ipaddress.ip_address(each) for each in listed(told["nodes"][node]["address"])]
        stock.bring_up(
            [f"{each}/{net.prefixlen}" for each in own for net in subnets if net.version == each.version]
        )
        for each in behind:
            stock.place.ip(f"route add {each} dev {stock.device}")
        yield stock


def topology(lab: Lab) -> dict[str, Any]:
    """The lab's topology with nothing left implicit."""
    told: dict[str, Any] = json.loads(run_ltk("render", str(lab.path), "-o", "json").stdout)["topology"]
    return told


def listed(value: str | list[str]) -> list[str]:
    """One or several, as a list."""
    return [value] if isinstance(value, str) else value


def move(lab: Lab, phone: Stock, site: str, old: str, new: str) -> None:
    """Give the phone's host another public address, with the routes to it, in the place of its old one."""
    length = ipaddress.ip_address(new).max_prefixlen
    for name in ("internet", site):
        place = Place(lab.scope(name))
        (route,) = json.loads(place.run("ip", "-j", f"-{4 if length == 32 else 6}", "route", "show", old))
        gateway = f"via {route['gateway']}" if "gateway" in route else ""
        place.ip(f"route add {new}/{length} {gateway} dev {route['dev']}")
    phone.place.ip(f"address add {new}/{length} dev eth0 nodad")
    phone.place.ip(f"address delete {old}/{length} dev eth0")
    # wireguard-go goes on sending from the address that has gone until its sockets are opened anew
    phone.wg("set", "listen-port", phone.wg("show", "listen-port").strip())
