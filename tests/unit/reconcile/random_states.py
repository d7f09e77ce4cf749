"""States to plan between, and a kernel that is as strict as the real one about the order of things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network

from hypothesis import strategies as st

from ltk.reconcile.plan import Create, Operation, Remove, Update
from ltk.reconcile.resources import (
    Address,
    Bridge,
    Daemon,
    End,
    Key,
    Namespace,
    Resource,
    Route,
    Ruleset,
    Secret,
    Setting,
    State,
    Stray,
    Tun,
    Veth,
    state_of,
)

TOPOLOGY = "t"
ROUTERS = ("ltk-t-r0", "ltk-t-r1")
HOSTS = ("ltk-t-h0", "ltk-t-h1")
MTUS = st.sampled_from([1280, 1500])
ADDRESSES = (None, "10.0.0.1/24", "10.0.0.2/24"), (None, "fd00::1/64")
DESTINATIONS = ("0.0.0.0/0", "fd01::/64")
GATEWAYS = (None, "10.0.0.254"), (None, "fd00::fe")
LOOPBACK = "lo"


@st.composite
def states(draw: st.DrawFn, *, leftovers: bool = False, everywhere: bool = False) -> State:
    """What a topology of up to two routers and two hosts can want; all that stands, stands on something.

    `leftovers` adds what only a killed run leaves; with `everywhere` no namespace or device is missing.
    """
    some: st.SearchStrategy[bool] = st.just(True) if everywhere else st.booleans()
    routers = [scope for scope in ROUTERS if draw(some)]
    hosts = [scope for scope in HOSTS if draw(some)]
    found: list[Resource] = [Namespace(scope, TOPOLOGY, draw(st.booleans())) for scope in routers + hosts]
    found += [Bridge(scope, "lan", draw(MTUS)) for scope in routers]
    for scope in hosts:
        choices = routers[:1] if everywhere else routers
        if choices and draw(some):
            router, mtu = draw(st.sampled_from(choices)), draw(MTUS)
            port = scope.rpartition("-")[2]
            found.append(Veth(End(scope, "eth0", mtu), End(router, port, mtu, master="lan")))
        if draw(some):
            device = "ltk0" if everywhere else draw(st.sampled_from(["ltk0", "wg0"]))
            found.append(Tun(scope, device, draw(MTUS)))
    found += [each for scope in routers + hosts for each in _on_devices(draw, scope, found)]
    for scope in hosts:
        if draw(st.booleans()):
            config = {"listen": draw(st.sampled_from([0, 9000])), "peers": []}
            running = not leftovers or draw(st.booleans())
            found.append(Daemon(scope, scope.rpartition("-")[2], config, "KEY", {}, running=running))
    if draw(st.booleans()):
        found.append(Secret("", "/var/lib/ltk/t/h0.key", draw(st.sampled_from(["aa", "bb"])), "secret"))
    if leftovers:
        found += [Stray(scope, "half") for scope in routers + hosts if draw(st.booleans())]
    return state_of(found)


def _on_devices(draw: st.DrawFn, scope: str, found: list[Resource]) -> list[Resource]:
    """Addresses, routes, rules and settings of one namespace, on the devices that it has."""
    devices = sorted(device for place, device in _devices(found) if place == scope)
    resources: list[Resource] = []
    for choices, destination, gateways in zip(ADDRESSES, DESTINATIONS, GATEWAYS, strict=True):
        on = []
        for device in [LOOPBACK, *devices]:
            if text := draw(st.sampled_from(choices)):
                resources.append(Address(scope, device, ip_interface(text)))
                on.append(device)
        if on and draw(st.booleans()):
            device, gateway = draw(st.sampled_from(on)), draw(st.sampled_from(gateways))
            resources.append(Route(scope, ip_network(destination), device, gateway))
    if draw(st.booleans()):
        resources.append(Ruleset(scope, (draw(st.sampled_from(["chain a", "chain b"])),), "rules"))
    if draw(st.booleans()):
        resources.append(Setting(scope, "net.ipv4.ip_forward", draw(st.sampled_from(["0", "1"]))))
    return resources


def _devices(resources: list[Resource]) -> list[tuple[str, str]]:
    """(namespace, name) of every device."""
    devices = []
    for resource in resources:
        match resource:
            case Veth():
                devices += [(end.scope, end.device) for end in (resource.a, resource.b)]
            case Bridge() | Tun() | Stray():
                devices.append((resource.scope, resource.device))
    return devices


@dataclass(slots=True)
class Kernel:
    """Holds a state and carries operations out, one by one; refuses what a real kernel would refuse."""

    state: State
    log: list[str] = field(default_factory=list)

    def run(self, operations: list[Operation]) -> None:
        """Carry out `operations` in order."""
        for operation in operations:
            self.log.append(str(operation))
            match operation:
                case Create():
                    self._create(operation.resource)
                case Update():
                    # a route may have gone with its last address, and changing it bears that
                    there = operation.resource.key in self.state or isinstance(operation.resource, Route)
                    assert there, f"nothing to change: {operation}"
                    self._put(operation.resource)
                case Remove():
                    self._remove(operation.resource)

    def observed(self, wanted: State) -> State:
        """What is there, for somebody who wants `wanted`: settings that nobody wants do not count."""
        return {
            key: resource
            for key, resource in self.state.items()
            if not isinstance(resource, Setting) or key in wanted
        }

    def _create(self, resource: Resource) -> None:
        assert resource.key not in self.state, f"it exists: {resource}"
        taken = _devices(list(self.state.values()))
        assert not set(_devices([resource])) & set(taken), f"a device of that name exists: {resource}"
        self._put(resource)

    def _put(self, resource: Resource) -> None:
        devices = {*_devices(list(self.state.values())), *((scope, LOOPBACK) for scope in resource.scopes)}
        for scope in resource.scopes:
            if scope and not isinstance(resource, Namespace):
                assert self._namespace(scope) in self.state, f"{scope} does not exist: {resource}"
        match resource:
            case Address() | Route():
                assert (resource.scope, resource.device) in devices, f"there is no such device: {resource}"
                if isinstance(resource, Route) and resource.gateway is not None:
                    assert _beside(resource, self.state.values()), f"no address to reach it from: {resource}"
            case Veth():
                for end in (resource.a, resource.b):
                    assert end.master is None or (end.scope, end.master) in devices, f"no bridge: {resource}"
        self.state[resource.key] = resource

    def _remove(self, resource: Resource) -> None:
        if isinstance(resource, Setting):
            return  # nobody can take a setting away
        assert resource.key in self.state, f"it has gone already: {resource}"
        there = list(self.state.values())
        match resource:
            case Namespace():
                goes_too = [each for each in there if resource.scope in each.scopes]
                left = [each for each in goes_too if isinstance(each, Daemon)]
                assert not left, f"processes still live there: {resource}"
            case Address():
                goes_too = _routes_that_go_with(resource, there)
            case _:
                gone = set(_devices([resource]))
                goes_too = [
                    each
                    for each in there
                    if isinstance(each, Address | Route) and (each.scope, each.device) in gone
                ]
        for each in {resource.key, *(each.key for each in goes_too)}:
            del self.state[each]

    @staticmethod
    def _namespace(scope: str) -> Key:
        return Namespace(scope, TOPOLOGY).key


def _routes_that_go_with(address: Address, there: list[Resource]) -> list[Route]:
    """With the last address of a device in a family, the routes of that family over it go."""
    routes = [each for each in there if isinstance(each, Route) and address in _beside(each, there)]
    return [each for each in routes if len(_beside(each, there)) == 1]


def _beside(route: Route, there: Iterable[Resource]) -> list[Address]:
    """The addresses of the route's family on its device."""
    place = (route.scope, route.device, route.destination.version)
    addresses = [each for each in there if isinstance(each, Address)]
    return [each for each in addresses if (each.scope, each.device, each.interface.version) == place]
