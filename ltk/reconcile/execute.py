"""How each kind of operation is done: the only place where ltk changes the machine.

Operations come in phases of one rank. Within a phase everything that goes to one namespace travels
in one batch, and what can wait side by side (rule sets) does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ltk.errors import LtkError
from ltk.kernel import conntrack, messages, netns, nft, paths, processes, sysctl, tuntap
from ltk.kernel.messages import Request
from ltk.kernel.netlink import Netlink
from ltk.lab.conditions import span_of
from ltk.lab.names import WAN
from ltk.node.control import ask_each
from ltk.node.digest import Digester
from ltk.reconcile import policy_rules, programs, rules, settings, wires
from ltk.reconcile.files import remove_file, write_private
from ltk.reconcile.observe import LOOPBACK, mark_of
from ltk.reconcile.plan import Create, Operation, Remove, Update
from ltk.reconcile.resources import (
    HERE,
    Address,
    Bridge,
    Daemon,
    End,
    Namespace,
    OwnSetting,
    Program,
    Resource,
    Route,
    Rule,
    Ruleset,
    Secret,
    Setting,
    Stray,
    Tun,
    Veth,
    Wire,
    place_of,
)
from ltk.supervise import client as supervisor
from ltk.supervise import systemd

CABLES_AT_ONCE = 256  # each takes a descriptor while it is made, of which a process has 1024
CONFIGURE_DEADLINE = 10.0  # seconds for a daemon to take a configuration; it may have a name to resolve


def execute(
    topology: str,
    operations: Sequence[Operation],
    on_done: Callable[[Operation], None],
    on_begin: Callable[[Sequence[Operation]], None] = lambda _: None,
) -> None:
    """Carry out `operations` in order; `on_done` hears of each when its phase is through.

    `on_begin` hears of those of each phase before the first of them.

    Raises LtkError at the first phase that fails; the phases before it are done.
    """
    phases = itertools.groupby(operations, key=lambda each: (isinstance(each, Remove), each.resource.rank))
    # Flows that are going on would keep a router's old address for ever, and those that begin before its
    # rules are about the new one would too.
    readdressed = {
        each.resource.scope
        for each in operations
        if isinstance(each, Remove) and isinstance(each.resource, Address) and each.resource.device == WAN
    }
    with _supervisor_meanwhile(topology, operations):
        for _, phase in phases:
            batch = list(phase)
            on_begin(batch)
            by_type: dict[type[Resource], list[Operation]] = defaultdict(list)
            for operation in batch:
                by_type[type(operation.resource)].append(operation)
            for kind, some in by_type.items():
                _DOERS[kind](topology, some)
            for operation in by_type[Ruleset]:
                if operation.resource.scope in readdressed:
                    conntrack.flush(operation.resource.scope)
            for operation in batch:
                on_done(operation)


@contextlib.contextmanager
def _supervisor_meanwhile(topology: str, operations: Sequence[Operation]) -> Iterator[None]:
    """Have the supervisor start, if there will be work for it, while the network is built.

    Whoever needs it waits for it, and hears then why there is none.
    """

    def start() -> None:
        with contextlib.suppress(LtkError):
            supervisor.ensure_running(topology)

    kinds = (Daemon, Program)
    wanted = any(
        isinstance(each.resource, kinds) and not isinstance(each, Remove) and not _by_systemd(each.resource)
        for each in operations
    )
    aside = threading.Thread(target=start, name="supervisor")
    if wanted:
        aside.start()
    try:
        yield
    finally:
        if wanted:
            aside.join()


def _namespaces(topology: str, operations: Sequence[Operation]) -> None:
    doomed = [each.resource.scope for each in operations if isinstance(each, Remove)]
    processes.end(netns.processes(*doomed))
    for scope in doomed:
        netns.remove(scope)
    for operation in operations:
        scope = operation.resource.scope
        if isinstance(operation, Create):
            if not netns.is_namespace(scope):
                netns.path(scope).unlink(missing_ok=True)  # a killed run got as far as the file
            netns.create(scope, lambda: _prepare_namespace(topology))
        elif isinstance(operation, Update):
            _run({scope: [messages.set_link(LOOPBACK, up=True)]})


def _prepare_namespace(topology: str) -> None:
    with Netlink.open() as netlink:
        mark = messages.add_altname(LOOPBACK, mark_of(topology))
        netlink.run([messages.set_link(LOOPBACK, up=True, group=messages.GROUP), mark])


def _settings(_topology: str, operations: Sequence[Operation]) -> None:
    for scope, some in _by_scope(operations).items():
        with netns.inside(scope):
            for operation in some:
                setting = operation.resource
                # the inverse of setting it the first time is unknown, and a lab's namespace goes anyway
                if isinstance(setting, Setting) and not isinstance(operation, Remove):
                    sysctl.write(setting.setting, setting.value)


def _strays(_topology: str, operations: Sequence[Operation]) -> None:
    removals = [each for each in operations if isinstance(each, Remove)]
    _run({scope: [_delete(each.resource) for each in some] for scope, some in _by_scope(removals).items()})


def _bridges(topology: str, operations: Sequence[Operation]) -> None:
    requests: dict[str, list[Request]] = defaultdict(list)
    for operation in operations:
        bridge = operation.resource
        assert isinstance(bridge, Bridge)
        match operation:
            case Create():
                requests[bridge.scope] += [
                    messages.create_bridge(bridge.device, bridge.mtu, bridge.hardware),
                    messages.add_altname(bridge.device, mark_of(topology, bridge.device)),
                    messages.set_link(bridge.device, up=bridge.up),
                ]
            case Update():
                requests[bridge.scope].append(messages.set_link(bridge.device, up=bridge.up, mtu=bridge.mtu))
            case Remove():
                requests[bridge.scope].append(_delete(bridge))
    _run(requests)


def _cables(topology: str, operations: Sequence[Operation]) -> None:
    for start in range(0, len(operations), CABLES_AT_ONCE):
        _some_cables(topology, operations[start : start + CABLES_AT_ONCE])


def _some_cables(topology: str, operations: Sequence[Operation]) -> None:
    made: dict[str, list[Request]] = defaultdict(list)
    configured: dict[str, list[Request]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        for operation in operations:
            cable = operation.resource
            assert isinstance(cable, Veth)
            if isinstance(operation, Remove):
                made[cable.scope].append(messages.delete_link(cable.a.device))
                continue
            if isinstance(operation, Create):
                far = os.open(netns.path(cable.b.scope), os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, far)
                made[cable.scope].append(
                    messages.create_veth(cable.a.device, cable.b.device, far, cable.a.mtu)
                )
            for end, other in ((cable.a, cable.b), (cable.b, cable.a)):
                configured[end.scope] += _end_requests(topology, end, other)
        _run(made)
    _run(configured)


def _wires(topology: str, operations: Sequence[Operation]) -> None:
    """The devices first, then one word to the process that carries them."""
    spans = {span.ends: span for span in wires.stored(topology) if wires.is_there(span)}
    for operation in operations:
        wire = operation.resource
        assert isinstance(wire, Wire)
        span = span_of(wire)
        if isinstance(operation, Remove):
            _run({end.scope: [messages.delete_link(end.device)] for end in (wire.a, wire.b)})
            spans.pop(span.ends, None)
            continue
        for end, other in ((wire.a, wire.b), (wire.b, wire.a)):
            requests = _end_requests(topology, end, other)
            if isinstance(operation, Create):
                tuntap.create_tap(end.scope, end.device, requests)
            else:
                _run({end.scope: requests})
        spans[span.ends] = span
    wires.carry(topology, spans.values())


def _end_requests(topology: str, end: End, other: End) -> list[Request]:
    master = 0 if end.master is None else _index(end.scope, end.master)
    mark = mark_of(topology, place_of(topology, other.scope), other.device)
    return [
        messages.add_altname(end.device, mark),
        messages.set_link(end.device, up=end.up, mtu=end.mtu, master=master),
    ]


def _tuns(topology: str, operations: Sequence[Operation]) -> None:
    for operation in operations:
        tun = operation.resource
        assert isinstance(tun, Tun)
        configure = messages.set_link(tun.device, up=tun.up, mtu=tun.mtu, super_packet=tun.super_packet)
        match operation:
            case Create():
                mark = messages.add_altname(tun.device, mark_of(topology, tun.device))
                tuntap.create(tun.scope, tun.device, [mark, configure])
            case Update():
                _run({tun.scope: [configure]})
            case Remove():
                _run({tun.scope: [_delete(tun)]})


def _addresses(_topology: str, operations: Sequence[Operation]) -> None:
    requests: dict[str, list[Request]] = defaultdict(list)
    for operation in operations:
        address = operation.resource
        assert isinstance(address, Address)
        change = messages.delete_address if isinstance(operation, Remove) else messages.add_address
        index = _index(address.scope, address.device)
        requests[address.scope].append(change(index, address.device, address.interface))
    _run(requests)


def _routes(_topology: str, operations: Sequence[Operation]) -> None:
    requests: dict[str, list[Request]] = defaultdict(list)
    for operation in operations:
        old = operation.have if isinstance(operation, Update) else operation.resource
        if not isinstance(operation, Create):
            requests[old.scope].append(_route_request(old, messages.delete_route))
        if not isinstance(operation, Remove):
            requests[old.scope].append(_route_request(operation.resource, messages.add_route))
    _run(requests)


def _route_request(route: Resource, change: Callable[..., Request]) -> Request:
    assert isinstance(route, Route)
    index = _index(route.scope, route.device)
    return change(
        route.destination, index, route.device, route.gateway, metric=route.metric, table=route.table
    )


def _rulesets(_topology: str, operations: Sequence[Operation]) -> None:
    texts = {}
    for operation in operations:
        ruleset = operation.resource
        assert isinstance(ruleset, Ruleset)
        gone = isinstance(operation, Remove)
        texts[ruleset.scope] = rules.removal(ruleset.table) if gone else ruleset.text
    nft.load(texts)


def _secrets(topology: str, operations: Sequence[Operation]) -> None:
    paths.make_private_folder(paths.state_folder(topology))
    for operation in operations:
        secret = operation.resource
        assert isinstance(secret, Secret)
        if isinstance(operation, Remove):
            remove_file(Path(secret.path))
        else:
            write_private(Path(secret.path), secret.value + "\n")


def _daemons(topology: str, operations: Sequence[Operation]) -> None:
    for operation in operations:
        if isinstance(operation, Remove):
            if _by_systemd(operation.resource):
                systemd.stop(topology)
            _remove_daemon(topology, operation.resource.name)
    wanted = [each for each in operations if not isinstance(each, Remove)]
    running = set()
    if any(not _by_systemd(each.resource) for each in wanted):
        supervisor.ensure_running(topology)
        running = {each.name for each in supervisor.nodes(topology) if each.state == "running"}
    # servers first: any order converges, but a client that finds nobody asks again only seconds later
    for is_client in (False, True):
        _put_up(topology, [each for each in wanted if _is_client(each) is is_client], running)


def _by_systemd(resource: Resource) -> bool:
    """Whether it is systemd that keeps it up: on a real host, where it runs."""
    return resource.scope == HERE and systemd.is_in_charge()


def _remove_daemon(topology: str, node: str) -> None:
    if supervisor.is_running(topology):
        supervisor.stop_node(topology, node)
    paths.config_here(topology).unlink(missing_ok=True)
    for path in (paths.node_config, paths.node_log, paths.control_socket):
        path(topology, node).unlink(missing_ok=True)


def _put_up(topology: str, operations: Sequence[Operation], running: Collection[str]) -> None:
    """Tell those daemons that answer their new configuration; start the others, side by side.

    One that does not answer but runs all the same hangs, or is elsewhere, and must end. One that is about
    to be started again anyway is not stopped: that would call off the repair that may have asked for this.
    """
    starts, told, digester = [], [], Digester()
    for operation in operations:
        daemon = operation.resource
        assert isinstance(daemon, Daemon)
        config = write_config(topology, daemon, digester)
        if isinstance(operation, Update) and isinstance(operation.have, Daemon) and operation.have.running:
            request = {"do": "configure", "config": daemon.config}
            told.append((paths.control_socket(topology, daemon.node), request))
            continue
        if _by_systemd(daemon):
            systemd.start(topology)
            continue
        if daemon.node in running:
            supervisor.stop_node(topology, daemon.node)
        log = paths.node_log(topology, daemon.node)
        starts.append(supervisor.Start(daemon.node, daemon.scope, config, log))
    for answer in ask_each(told, CONFIGURE_DEADLINE):
        if isinstance(answer, LtkError):
            raise answer
    if starts:
        supervisor.start_nodes(topology, starts)


def write_config(topology: str, daemon: Daemon, digester: Digester) -> Path:
    """The file that the daemon starts from; on a real host it has a name that needs no node's as well."""
    config = paths.node_config(topology, daemon.node)
    write_private(config, digester.text(daemon.config) + "\n")
    if daemon.scope == HERE:
        link = paths.config_here(topology)
        link.unlink(missing_ok=True)
        link.symlink_to(config.name)
    return config


def _is_client(operation: Operation) -> bool:
    return isinstance(operation.resource, Daemon) and operation.resource.config.get("role") != "server"


def _by_scope(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        found[operation.resource.scope].append(operation)
    return found


def _run(requests: dict[str, list[Request]]) -> None:
    for scope, batch in requests.items():
        with Netlink.open(scope) as netlink:
            netlink.run(batch)


def _delete(resource: Resource) -> Request:
    return messages.delete_link(resource.name)


def _index(scope: str, device: str) -> int:
    """The device's number in its namespace."""
    with netns.inside(scope):
        try:
            return socket.if_nametoindex(device)
        except OSError:
            raise LtkError(f"looking for the device {device} in {scope}", "it does not exist") from None


_DOERS: dict[type[Resource], Callable[[str, Sequence[Operation]], None]] = {
    Namespace: _namespaces,
    Setting: _settings,
    Stray: _strays,
    Bridge: _bridges,
    Veth: _cables,
    Wire: _wires,
    Tun: _tuns,
    Address: _addresses,
    Route: _routes,
    Rule: policy_rules.change,
    OwnSetting: settings.change,
    Ruleset: _rulesets,
    Secret: _secrets,
    Daemon: _daemons,
    Program: programs.change,
}
