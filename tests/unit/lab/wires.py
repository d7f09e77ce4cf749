"""A lab's resources as a network of wires: where a packet would go, by addresses, routes and cables alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from ltk.reconcile.resources import Address, Network, Resource, Route, Setting, Veth

IPAddress: TypeAlias = IPv4Address | IPv6Address
Device: TypeAlias = tuple[str, str]  # (namespace, name)
MAX_HOPS = 16
FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


class LostError(Exception):
    """A packet that goes nowhere; says where and why."""


@dataclass(slots=True)
class Wires:
    """The network that some resources describe."""

    addresses: list[Address] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    settings: dict[tuple[str, str], str] = field(default_factory=dict)
    other_end: dict[Device, Device] = field(default_factory=dict)
    bridge_of: dict[Device, str] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Wires:
        """Sort the resources that matter to packets."""
        wires = cls()
        for resource in resources:
            match resource:
                case Address():
                    wires.addresses.append(resource)
                case Route():
                    wires.routes.append(resource)
                case Setting():
                    wires.settings[resource.scope, resource.setting] = resource.value
                case Veth(a=a, b=b):
                    for end, other in ((a, b), (b, a)):
                        wires.other_end[end.scope, end.device] = other.scope, other.device
                        if end.master:
                            wires.bridge_of[end.scope, end.device] = end.master
        return wires

    def walk(self, scope: str, target: IPAddress) -> list[str]:
        """The namespaces that a packet from `scope` to `target` crosses, the last of which has the address.

        Raises LostError where there is no route, no neighbour, no forwarding, or no end.
        """
        path = [scope]
        while not self._has(path[-1], target):
            here = path[-1]
            if len(path) > MAX_HOPS:
                raise LostError(f"going round: {path}")
            if len(path) > 1 and self.settings.get((here, FORWARDING[target.version])) != "1":
                raise LostError(f"{here} does not forward")
            path.append(self._next(here, target))
        return path

    def _has(self, scope: str, target: IPAddress) -> bool:
        return any(each.scope == scope and each.interface.ip == target for each in self.addresses)

    def _next(self, scope: str, target: IPAddress) -> str:
        found = [each for each in self._ways(scope) if target in each[0]]
        if not found:
            raise LostError(f"{scope} has no route to {target}")
        _, device, gateway = max(found, key=lambda each: each[0].prefixlen)
        hop = gateway or str(target)
        neighbours = {place for place, _ in self._segment((scope, device)) if place != scope}
        for place in sorted(neighbours):
            if any(each.scope == place and str(each.interface.ip) == hop for each in self.addresses):
                return place
        raise LostError(f"nobody answers for {hop} on {device} of {scope}")

    def _ways(self, scope: str) -> Iterator[tuple[Network, str, str | None]]:
        """(destination, device, gateway) of the routes of a namespace, those of its own subnets too."""
        for address in self.addresses:
            if address.scope == scope:
                yield address.interface.network, address.device, None
        for route in self.routes:
            if route.scope == scope:
                yield route.destination, route.device, route.gateway

    def _segment(self, start: Device) -> set[Device]:
        """All devices that hear each other: cables, and the ports of bridges."""
        seen: set[Device] = set()
        waiting = [start]
        while waiting:
            device = waiting.pop()
            if device in seen:
                continue
            seen.add(device)
            scope, name = device
            if device in self.other_end:
                waiting.append(self.other_end[device])
            if device in self.bridge_of:
                waiting.append((scope, self.bridge_of[device]))
            waiting += [port for port, bridge in self.bridge_of.items() if (port[0], bridge) == (scope, name)]
        return seen
