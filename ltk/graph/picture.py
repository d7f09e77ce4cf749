"""What there is to draw of a topology, whatever it is drawn with. Pure.

Boxes hang on each other by cables, in a tree with the internet as its root; tunnels lead from host to host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ltk.topology.expanded import Link, Node, P2p, Role, Site, Topology
from ltk.topology.nats import PRESETS, Nat

ROOT = "internet"  # the id of the root


class Shape(StrEnum):
    """What a box stands for."""

    INTERNET = "internet"
    SITE = "site"
    NAT = "nat"
    HOST = "host"
    SERVER = "server"
    STOPPED = "stopped"


class Way(StrEnum):
    """What is known of a tunnel."""

    DIRECT = "direct"
    RELAY = "relay"
    NONE = "no session"
    PLANNED = "planned"  # nothing is up


@dataclass(frozen=True, slots=True)
class Box:
    """The internet, a site's router or a host. `id` is a plain word, the rest is for people."""

    id: str
    shape: Shape
    title: str
    lines: tuple[str, ...]
    parent: str | None  # the id of the box that its cable leads to

    @property
    def is_host(self) -> bool:
        """Whether tunnels may end here."""
        return self.shape in (Shape.HOST, Shape.SERVER, Shape.STOPPED)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel between two hosts, by the ids of their boxes."""

    a: str
    b: str
    way: Way
    rtt: float | None = None  # milliseconds

    @property
    def label(self) -> str:
        """What to write at it; nothing where nothing is known."""
        if self.way is Way.PLANNED:
            return ""
        return self.way.value if self.rtt is None else f"{self.way.value}, {self.rtt:.1f} ms"


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in the order of the file; parents stand before what hangs on them."""

    title: str
    boxes: tuple[Box, ...]
    tunnels: tuple[Tunnel, ...]


Statuses = Mapping[str, Mapping[str, object]]


def picture(topology: Topology, statuses: Statuses | None) -> Picture:
    """Draw up what is there; `statuses` is what each daemon says that answers, None: nothing is up."""
    hosts = {node.name: f"host{number}" for number, node in enumerate(topology.nodes)}
    boxes = _boxes(topology, hosts, statuses)
    tunnels = _planned(topology) if statuses is None else _live(topology, statuses)
    return Picture(
        topology.name,
        tuple(boxes),
        tuple(Tunnel(hosts[a], hosts[b], way, rtt) for a, b, way, rtt in tunnels),
    )


def _boxes(topology: Topology, hosts: Mapping[str, str], statuses: Statuses | None) -> Iterator[Box]:
    lab = topology.lab
    internet = tuple(str(network) for network in lab.internet) if lab else ()
    yield Box(ROOT, Shape.INTERNET, "internet", internet, None)
    if lab is None:
        for node in topology.nodes:
            yield _host(node, hosts[node.name], ROOT, _is_stopped(node, statuses))
        return
    sites = {site.name: f"site{number}" for number, site in enumerate(lab.sites)}
    for site in _parents_first(lab.sites):
        shape = Shape.SITE if site.nat.is_open else Shape.NAT
        lines = [nat_words(site.nat), *map(str, site.wan)]
        lines += [link_words(site.link)] if site.link else []
        yield Box(sites[site.name], shape, site.name, tuple(lines), sites.get(site.behind or "", ROOT))
    for site in lab.sites:
        for host in site.hosts:
            node = topology.node(host.node)
            yield _host(node, hosts[node.name], sites[site.name], _is_stopped(node, statuses))


def _parents_first(sites: Sequence[Site]) -> Iterator[Site]:
    done: set[str | None] = {None}
    left = list(sites)
    while left:
        ready = [site for site in left if site.behind in done]
        yield from ready
        done |= {site.name for site in ready}
        left = [site for site in left if site.name not in done]


def _host(node: Node, number: str, parent: str, is_stopped: bool) -> Box:
    shape = Shape.SERVER if node.role is Role.SERVER else Shape.HOST
    role = "stock WireGuard" if node.role is Role.WIREGUARD else node.role.value
    lines = [f"{role}, stopped" if is_stopped else role, *(str(address.ip) for address in node.addresses)]
    return Box(number, Shape.STOPPED if is_stopped else shape, node.name, tuple(lines), parent)


def _is_stopped(node: Node, statuses: Statuses | None) -> bool:
    has_daemon = node.role not in (Role.WIREGUARD, Role.HOST)
    return statuses is not None and has_daemon and node.name not in statuses


def nat_words(nat: Nat) -> str:
    """The name of a kind of router, or its mapping and filtering where it has no name."""
    name = next((preset.value for preset, known in PRESETS.items() if known == nat), None)
    if name == "none":
        return "no NAT"
    if name is not None:
        return name if name == "firewall" else f"NAT: {name}"
    if not nat.translates:
        return f"filtering: {nat.filtering.value}"
    return f"NAT: {nat.mapping.value}, filtering: {nat.filtering.value}"


def link_words(link: Link) -> str:
    """A link's conditions in a few words."""
    words = [f"{link.delay / 1000:g} ms" + (f" ± {link.jitter / 1000:g} ms" if link.jitter else "")]
    words += [f"{link.loss / 10_000:g} % loss"] if link.loss else []
    return "link: " + ", ".join(words)


Found = tuple[str, str, Way, float | None]


def _planned(topology: Topology) -> Iterator[Found]:
    """The tunnels that there will be from the start: others come when there is something to say."""
    ends = [node for node in topology.nodes if node.role is not Role.HOST]
    if not ends:
        return
    server = topology.server
    others = [node for node in ends if node is not server]
    for node in others:
        yield server.name, node.name, Way.PLANNED, None
    clients = [node for node in others if node.role is Role.CLIENT]
    for number, one in enumerate(clients):
        for other in clients[number + 1 :]:
            if not server.isolation and topology.pair(one, other).p2p is P2p.EAGER:
                yield one.name, other.name, Way.PLANNED, None


def _live(topology: Topology, statuses: Statuses) -> Iterator[Found]:
    """What the two ends say of each tunnel; it is as good as the worse of both says."""
    said: dict[tuple[str, str], list[tuple[Way, float | None]]] = {}
    names = [node.name for node in topology.nodes]
    for one in names:
        peers = statuses.get(one, {}).get("peers", [])
        for peer in peers if isinstance(peers, list) else []:
            if peer["name"] in names:
                a, b = sorted((one, peer["name"]), key=names.index)
                said.setdefault((a, b), []).append((_WAYS[peer["path"]], peer["rtt_ms"]))
    server = next((node.name for node in topology.nodes if node.role is Role.SERVER), None)
    for (a, b), both in sorted(said.items(), key=lambda each: [names.index(name) for name in each[0]]):
        way = max((way for way, _ in both), key=_WORSE.index)
        if way is not Way.NONE or server in (a, b):  # clients that have not spoken have no tunnel
            yield a, b, way, next((rtt for _, rtt in both if rtt is not None), None)


_WAYS = {"direct": Way.DIRECT, "relay": Way.RELAY, "none": Way.NONE}
_WORSE = (Way.DIRECT, Way.RELAY, Way.NONE)
