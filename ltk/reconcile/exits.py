"""Ways out as resources: what a node needs to lead others on, and what the others need to be led.

Everything goes into the tunnel but the tunnel itself: daemons mark what they send, and a policy rule leads
all that is not marked by a table of its own, whose default route is the tunnel. The main table keeps what
it knows better than by a default route, so that the machine's own networks stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ltk.kernel.policy import around, underlay_mark
from ltk.reconcile.resources import (
    HERE,
    Network,
    OwnSetting,
    Resource,
    Route,
    Rule,
    Ruleset,
    Setting,
)
from ltk.reconcile.rules import TABLE, Chain, ruleset
from ltk.topology.expanded import Node, Role, Topology

RAW, MANGLE, SOURCE = -300, -150, 100  # priorities of chains; linux/netfilter_ipv4.h
FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
MARK_COUNTS_ON_THE_WAY_BACK = "net.ipv4.conf.all.src_valid_mark"


Behind: TypeAlias = Sequence[tuple[Node, Network]]
"""The networks behind nodes, each with the node that it is behind."""


def is_led(node: Node, behind: Behind) -> bool:
    """Whether another node is its way to everywhere.

    The server is the one that everybody reaches and that reaches everybody: it stays where it is.
    """
    ways = any(network.prefixlen == 0 and other is not node for other, network in behind)
    return ways and node.role is Role.CLIENT


def mark(topology: Topology, node: Node, behind: Behind) -> int:
    """What the node's daemon marks its own packets with; 0: nothing. Real hosts always do."""
    led = topology.here is not None or is_led(node, behind)
    return underlay_mark(topology.name) if led else 0


def table_of(topology: Topology) -> str:
    """The nftables table in a node: on a real host there may be one for each of several topologies."""
    return TABLE if topology.here is None else f"{TABLE}-{topology.name}"


def routes(topology: Topology, node: Node, scope: str, behind: Behind) -> Iterator[Resource]:
    """What leads from `node` to all that is behind the others."""
    own = underlay_mark(topology.name)
    versions = set()
    for other, network in behind:
        if other is node:
            continue
        if network.prefixlen > 0:
            yield Route(scope, network, node.device)
        elif is_led(node, behind):
            versions.add(network.version)
            yield Route(scope, network, node.device, table=own)
    for version in sorted(versions):
        for rule in around(topology.name, version):
            yield Rule(scope, version, rule.priority, rule.table, rule.unmarked, rule.suppress)
    if 4 in versions:
        yield _setting(scope, MARK_COUNTS_ON_THE_WAY_BACK, "1")


def forwarding(node: Node, scope: str) -> Iterator[Resource]:
    """What a node needs to lead others on to what is behind it."""
    versions = {route.version for route in node.routes}
    if scope != HERE and versions:
        versions = {4, 6}  # a lab's namespace is ltk's own
    for version in sorted(versions):
        yield _setting(scope, FORWARDING[version], "1")


def rules(topology: Topology, node: Node, scope: str, behind: Behind) -> Ruleset | None:
    """The rules of a node that is led, or that leads others on under its own address."""
    chains: list[Chain] = []
    if is_led(node, behind):
        chains += _of_the_led(node, underlay_mark(topology.name))
    if node.masquerade:
        rules = tuple(
            f'{_family(network)} saddr {network} oifname != "{node.device}" counter masquerade'
            for network in _in_the_tunnel(topology, node, behind)
            if any(route.version == network.version for route in node.routes)
        )
        chains.append(Chain("source", "nat", "postrouting", SOURCE, rules))
    return ruleset(scope, tuple(chains), (), table=table_of(topology)) if chains else None


def _of_the_led(node: Node, own: int) -> list[Chain]:
    """A packet that answers the daemon gets its mark back, for reverse-path filters to look where it did.

    And nobody on the machine's own networks gets to write to its tunnel addresses past the tunnel.
    """
    guard = tuple(
        f'iifname != "{node.device}" {_family(own_address.network)} daddr {own_address.ip} '
        "fib saddr type != local drop"
        for own_address in node.addresses
    )
    return [
        Chain("guard", "filter", "prerouting", RAW, guard),
        Chain("answered", "filter", "prerouting", MANGLE, (f"ct mark {own} meta mark set {own}",)),
        Chain("asked", "filter", "postrouting", MANGLE, (f"meta mark {own} ct mark set {own}",)),
    ]


def _in_the_tunnel(topology: Topology, node: Node, behind: Behind) -> Iterator[Network]:
    yield from topology.subnets
    yield from (network for other, network in behind if other is not node and network.prefixlen > 0)


def _family(network: Network) -> str:
    return "ip" if network.version == 4 else "ip6"


def _setting(scope: str, setting: str, value: str) -> Resource:
    return OwnSetting(scope, setting, value) if scope == HERE else Setting(scope, setting, value)
