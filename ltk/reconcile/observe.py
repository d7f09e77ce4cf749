"""The kernel and the daemons as resources: what is there, in the terms in which it is wanted.

Ours is what bears our mark. What stands in our places without it is reported as foreign, and
nothing more is done about it.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ltk.errors import LtkError
from ltk.kernel import netns, nftables, paths, policy, sysctl
from ltk.kernel.messages import GROUP, PROTOCOL, Link
from ltk.kernel.netlink import Netlink
from ltk.lab.conditions import Tap
from ltk.node.control import ask_each, asked
from ltk.node.digest import Digester
from ltk.reconcile import here, policy_rules, programs, rules, secrets, wires
from ltk.reconcile.resources import (
    DEVICE,
    HERE,
    Address,
    Bridge,
    Daemon,
    End,
    Key,
    Namespace,
    Resource,
    Route,
    Ruleset,
    Setting,
    State,
    Stray,
    Tun,
    Veth,
    Wire,
    scope_of,
    state_of,
)

LOOPBACK = "lo"
ASKED_AHEAD = 64  # daemons that answer while we look; more would share the cores, and all be late
ANSWER_DEADLINE = 2.0  # seconds for a daemon's answer; one that needs longer is not running for us


@dataclass(frozen=True, slots=True)
class Observation:
    """What bears the topology's mark, and what is in the way: key -> words for it.

    `adoptable` are those in the way that could bear the mark, as they are.
    """

    have: State
    foreign: dict[Key, str]
    adoptable: State = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """What one look at the namespaces gathers."""

    resources: list[Resource] = field(default_factory=list)
    foreign: dict[Key, str] = field(default_factory=dict)
    adoptable: State = field(default_factory=dict)
    marked: set[Key] = field(default_factory=set)  # addresses and routes
    ends: dict[tuple[str, str], tuple[Link, str | None]] = field(default_factory=dict)
    cables: set[frozenset[tuple[str, str]]] = field(default_factory=set)


def mark_of(topology: str, *place: str) -> str:
    """The alternative name that a device of the topology bears.

    The loopback of a namespace bears the topology alone, a cable's end the place and the device at
    its other end, everything else its own name. Dots separate, since no name of ours has one.
    """
    return ".".join(("ltk", topology, *place))


def observe(
    topology: str,
    wanted: Iterable[Resource] = (),
    held: Container[str] = (),
    *,
    adopting: bool = False,
) -> Observation:
    """Look at everything of `topology`; of the settings, at those that somebody wants.

    With `adopting` also into namespaces that are wanted and bear no mark.

    A daemon that says that it is as it is wanted is believed, and not asked for the whole of it. Those of
    the nodes `held` are kept down by a fault: they are not asked, and nothing is missing about them.
    """
    wanted = list(wanted)
    anyway = {each.scope for each in wanted if isinstance(each, Namespace)} if adopting else set()
    settings: dict[str, list[Setting]] = defaultdict(list)
    for each in wanted:
        if isinstance(each, Setting):
            settings[each.scope].append(each)
    daemons = {each.node: each for each in wanted if isinstance(each, Daemon)}
    found = _Found()
    with _daemons(topology, daemons, held) as told:  # they answer while we look
        for scope in netns.names(scope_of(topology, "")):
            with netns.inside(scope):  # once for all that there is to see
                if not _look_inside(topology, scope, settings[scope], found, anyway=scope in anyway):
                    namespace = Namespace(scope, topology)
                    found.foreign[namespace.key] = f"the namespace {scope} is not ltk's"
                    found.adoptable[namespace.key] = namespace
        around = here.look(topology, wanted)
        found.resources += around.resources
        found.foreign |= around.foreign
        found.adoptable |= around.adoptable
        _pair_ends(topology, found)
        found.resources += told()
    found.resources += programs.kept(topology)
    for key_file in sorted(paths.state_folder(topology).glob("*")):
        if secret := secrets.observed(key_file):
            found.resources.append(secret)
    return Observation(state_of(found.resources), found.foreign, found.adoptable)


def marked_topologies() -> set[str]:
    """The topologies of which a namespace is up, or a device on this machine itself."""
    return here.marked() | marked_labs()


def marked_labs() -> set[str]:
    """The topologies of which a namespace is up."""
    found = set()
    for scope in netns.names():
        if scope.startswith("ltk-"):
            try:
                with Netlink.open(scope) as netlink:
                    loopback = _loopback(netlink.links())
            except LtkError:
                if netns.is_namespace(scope):
                    raise
                continue  # another topology is being destroyed
            names = loopback.altnames if loopback is not None else ()
            found |= {name.split(".")[1] for name in names if name.startswith("ltk.")}
    return found


def _loopback(links: Iterable[Link]) -> Link | None:
    """The loopback device; None where somebody has given it another name, as in no namespace of ours."""
    return next((link for link in links if link.name == LOOPBACK), None)


def _look_inside(
    topology: str, scope: str, settings: Sequence[Setting], found: _Found, *, anyway: bool = False
) -> bool:
    """Gather what is in the namespace that this thread is in; False where that is not the topology's.

    With `anyway`, what is in it is gathered even then.
    """
    with Netlink.here(scope) as netlink:
        links = {link.index: link for link in netlink.links()}
        loopback = _loopback(links.values())
        ours = loopback is not None and mark_of(topology) in loopback.altnames
        if not ours and not anyway:
            return False
        if ours and loopback is not None:
            found.resources.append(Namespace(scope, topology, loopback.up))
        for link in links.values():
            if link is not loopback:
                _device(topology, scope, link, links, found)
        for address in netlink.addresses():
            resource: Resource = Address(scope, links[address.index].name, address.interface)
            _sort_in(resource, address.protocol == PROTOCOL, found)
        for route in netlink.routes(beside=policy.underlay_mark(topology)):
            device = links[route.index].name if route.index in links else ""
            resource = Route(scope, route.destination, device, route.gateway, route.metric, route.table)
            _sort_in(resource, bool(device) and route.protocol == PROTOCOL, found)
        for rule, protocol in policy_rules.observed(netlink, topology, scope):
            if protocol == PROTOCOL:
                found.resources.append(rule)
            else:
                found.foreign[rule.key] = f"{rule} was made by somebody else"
    found.resources += [_present_value(each) for each in settings]
    if (objects := nftables.objects_here(scope, rules.FAMILY, rules.TABLE)) is not None:
        found.resources.append(Ruleset(scope, rules.fingerprint(objects)))
    return ours


def _sort_in(resource: Resource, ours: bool, found: _Found) -> None:
    # routes can be appended to those of the same destination and metric, whoever these bear the mark of
    if ours and resource.key not in found.marked:
        found.marked.add(resource.key)
        found.resources.append(resource)
    else:
        found.foreign[resource.key] = f"{resource} was made by somebody else"
        found.adoptable[resource.key] = resource


def _device(topology: str, scope: str, link: Link, links: dict[int, Link], found: _Found) -> None:
    mark = next((name for name in link.altnames if name.startswith(mark_of(topology) + ".")), None)
    if link.group == GROUP and mark is None:
        found.resources.append(Stray(scope, link.name))
    elif link.group != GROUP or mark is None:
        _foreign_device(scope, link, found)
    elif link.kind == "bridge":
        found.resources.append(Bridge(scope, link.name, link.mtu, link.up))
    elif link.kind == "tun":
        found.resources.append(Tun(scope, link.name, link.mtu, link.up, link.super_packet))
    elif link.kind in ("veth", "tap"):
        master = links[link.master].name if link.master in links else None
        found.ends[scope, link.name] = (link, master)
        place, _, device = mark.removeprefix(mark_of(topology) + ".").partition(".")
        found.cables.add(frozenset({(scope, link.name), (scope_of(topology, place), device)}))


def _foreign_device(scope: str, link: Link, found: _Found) -> None:
    """Whatever kind of device it is, it takes a name that ltk may want for one of its own."""
    words = f"the device {link.name} in {scope} is not ltk's"
    for kind in (Bridge.kind, Tun.kind, DEVICE):
        found.foreign[kind, scope, link.name] = words
    match link.kind:
        case "bridge":
            bridge = Bridge(scope, link.name, link.mtu, link.up)
            found.adoptable[bridge.key] = bridge
        case "tun":
            tun = Tun(scope, link.name, link.mtu, link.up, link.super_packet)
            found.adoptable[tun.key] = tun


def _pair_ends(topology: str, found: _Found) -> None:
    """Make cables and wires of the ends; one whose other end is nowhere to be found is a stray."""
    in_force = wires.in_force(topology)
    for cable in found.cables:
        places = [place for place in sorted(cable) if place in found.ends]
        kinds = [found.ends[place][0].kind for place in places]
        ends = [
            End(scope, device, link.mtu, master, link.up)
            for scope, device in places
            for link, master in [found.ends[scope, device]]
        ]
        match kinds:
            case ["veth", "veth"]:
                found.resources.append(Veth(ends[0], ends[1]))
            case ["tap", "tap"]:
                conditions = in_force.get((Tap(*places[0]), Tap(*places[1])))
                found.resources.append(Wire(ends[0], ends[1], conditions, conditions is not None))
            case _:
                found.resources += [Stray(end.scope, end.device) for end in ends]


def present_settings(wanted: Iterable[Resource], scopes: set[str]) -> Iterator[Resource]:
    """The present values of the wanted settings, in those of the namespaces that there are."""
    for each in wanted:
        if isinstance(each, Setting) and each.scope in scopes:
            with netns.inside(each.scope):
                yield _present_value(each)


def _present_value(wanted: Setting) -> Setting:
    """The setting as it is. Where the kernel does not have it nothing can be set: it counts as wanted."""
    value = sysctl.read(wanted.setting)
    return wanted if value in (None, wanted.value) else replace(wanted, value=value)


@contextlib.contextmanager
def _daemons(
    topology: str, wanted: Mapping[str, Daemon], held: Container[str]
) -> Iterator[Callable[[], list[Resource]]]:
    """Ask all daemons at once, and have the body look elsewhere until it calls for what they have told."""
    nodes = {path.stem: path for path in paths.node_configs(topology)}
    down = [node for node in nodes if node in held]
    found: list[Resource] = [
        wanted.get(node)
        or Daemon(_place_of(topology, node, wanted), node, _stored(nodes[node]), "", {}, running=False)
        for node in down
    ]
    nodes = {node: path for node, path in nodes.items() if node not in held}
    digester = Digester()
    questions: list[tuple[Path, dict[str, object]]] = []
    for node in nodes:
        question: dict[str, object] = {"do": "config"}
        if daemon := wanted.get(node):
            question["unless"] = digester.digest(daemon.config, daemon.public_key, daemon.psk_ids)
        questions.append((paths.control_socket(topology, node), question))
    first, later = questions[:ASKED_AHEAD], questions[ASKED_AHEAD:]
    with asked(first, ANSWER_DEADLINE) as answers:

        def told() -> list[Resource]:
            everything = answers() + ask_each(later, ANSWER_DEADLINE)
            return found + [
                _daemon(_place_of(topology, node, wanted), node, path, wanted.get(node), answer)
                for (node, path), answer in zip(nodes.items(), everything, strict=True)
            ]

        yield told


def _daemon(
    scope: str, node: str, path: Path, wanted: Daemon | None, answer: Mapping[str, Any] | LtkError
) -> Daemon:
    """What a node's daemon says of itself; one that does not answer from inside of its namespace is down."""
    if isinstance(answer, LtkError) or not _is_inside(answer["pid"], scope):
        return Daemon(scope, node, _stored(path), "", {}, running=False)
    attached = answer["device_state"] == "attached"
    if "config" in answer:
        config, public_key, psk_ids = (answer[key] for key in ("config", "public_key", "psk_ids"))
        return Daemon(scope, node, config, public_key, psk_ids, attached=attached)
    assert wanted is not None, "it leaves out what it was told is known"
    return replace(wanted, attached=attached, running=True)


def _place_of(topology: str, node: str, wanted: Mapping[str, Daemon]) -> str:
    """The namespace of a node's daemon; on a real host it is in none of a lab's."""
    if node in wanted:
        return wanted[node].scope
    scope = scope_of(topology, node)
    return scope if netns.is_namespace(scope) else HERE


def _is_inside(pid: int, scope: str) -> bool:
    try:
        there = Path("/proc/self/ns/net") if scope == HERE else netns.path(scope)
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == there.stat().st_ino
    except OSError:
        return False


def _stored(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return config
