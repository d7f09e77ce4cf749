"""A small internet of namespaces made by hand: hosts, each on a cable of its own to one switch.

Here a stock peer meets a daemon of ltk's that was configured by hand as well, which the reconciler
does not do: there a stock peer is never the server.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from place import Place

PREFIX = "ltki-"  # of all namespaces made here


@dataclass(frozen=True, slots=True)
class Host(Place):
    """A namespace with one uplink. `addresses`, by IP version, are those of its underlay."""

    name: str
    addresses: dict[int, str]

    def endpoint(self, port: int, version: int) -> str:
        """Where the host is reached, as WireGuard's configuration has it."""
        address = self.addresses[version]
        return f"{address}:{port}" if version == 4 else f"[{address}]:{port}"


class Underlay:
    """The switch, in whose namespace each host's cable ends in a device of the host's name."""

    def __init__(self) -> None:
        self.switch = _made("switch")
        self.hosts: list[Host] = []
        self.switch.ip("link add lan type bridge")
        self.switch.ip("link set lan up")

    def host(self, name: str) -> Host:
        """Make a host; its name has at most 15 characters."""
        place = _made(name)
        number = len(self.hosts) + 1
        host = Host(place.namespace, name, {4: f"198.51.100.{number}", 6: f"2001:db8::{number}"})
        self.hosts.append(host)
        self.switch.ip(f"link add {name} type veth peer name eth0 netns {host.namespace}")
        self.switch.ip(f"link set {name} master lan up")
        host.ip(f"address add {host.addresses[4]}/24 dev eth0")
        host.ip(f"address add {host.addresses[6]}/64 dev eth0 nodad")
        for device in ("lo", "eth0"):
            host.ip(f"link set {device} up")
        return host

    def remove(self) -> None:
        """Remove all that was made; its processes must have ended."""
        for place in (*self.hosts, self.switch):
            _ip("delete", place.namespace)


@contextmanager
def underlay() -> Iterator[Underlay]:
    """An underlay without hosts yet; it goes with the body."""
    made = Underlay()
    try:
        yield made
    finally:
        made.remove()


def _made(name: str) -> Place:
    place = Place(PREFIX + name)
    _ip("add", place.namespace)
    return place


def _ip(verb: str, namespace: str) -> None:
    subprocess.run(["ip", "netns", verb, namespace], check=True, timeout=10)
