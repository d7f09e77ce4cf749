"""The expanded topology as a topology file again, with every default spelled out.

Loading and expanding what `render` writes gives an equal topology.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from ltk.topology.expanded import (
    Forward,
    Host,
    Lab,
    Link,
    Node,
    Pair,
    Role,
    SecretSource,
    Site,
    Topology,
)
from ltk.topology.expected import Check, Claim, Program
from ltk.topology.nats import OPEN, Nat, NatPreset
from ltk.topology.quantities import duration_text, rate_text, share_text

WIDTH = 100  # columns


def render(topology: Topology) -> str:
    """The topology as YAML."""
    dumper = getattr(
        yaml, "CSafeDumper", yaml.SafeDumper
    )  # ten times as fast, where PyYAML was built with it
    text = yaml.dump(
        as_mapping(topology), Dumper=dumper, sort_keys=False, default_flow_style=None, width=WIDTH
    )
    return str(text)


def as_mapping(topology: Topology) -> dict[str, Any]:
    """The topology as the plain data of its file."""
    network: dict[str, Any] = {"subnet": _texts(topology.subnets), "mtu": topology.mtu}
    if topology.psk is not None:
        network["psk"] = _secret(topology.psk)
    if topology.secret is not None:
        network["secret"] = _secret(topology.secret)
    file: dict[str, Any] = {
        "name": topology.name,
        **({"network": network} if topology.subnets else {}),
        "nodes": {node.name: _node(node) for node in topology.nodes},
    }
    if topology.pairs:
        file["pairs"] = [_pair(pair) for pair in topology.pairs]
    if topology.lab is not None:
        file["lab"] = _lab(topology.lab)
    if topology.checks:
        file["checks"] = [_check(check) for check in topology.checks]
    return file


def _node(node: Node) -> dict[str, Any]:
    run = {"run": _program(node.run)} if node.run is not None else {}
    return _tunnel_end(node) | run if node.role is not Role.HOST else {"role": node.role.value} | run


def _tunnel_end(node: Node) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "endpoint": node.endpoint,
        "masquerade": node.masquerade if node.routes else None,
        "isolation": node.isolation if node.role is Role.SERVER else None,
        "p2p": _p2p(node),
        "transport": node.transport.value,
        "metrics": node.metrics,
        "ssh": node.ssh,
        "public_key": node.public_key,
        "private_key": _secret(node.private_key) if node.private_key is not None else None,
    }
    return {
        "role": node.role.value,
        "address": [str(own.ip) for own in node.addresses],
        "routes": _texts(node.routes),
        "listen": node.listen,
        "keepalive": node.keepalive,
        "device": node.device,
    } | {key: value for key, value in optional.items() if value is not None}


def _pair(pair: Pair) -> dict[str, Any]:
    return {"between": list(pair.between), "p2p": _p2p(pair), "path": pair.path.value}


def _p2p(who: Node | Pair) -> dict[str, str]:
    return {"mode": who.p2p.value, "hard-nat": who.hard_nat.value}


def _program(program: Program) -> dict[str, str]:
    return {"command": program.command, "folder": program.folder}


def _check(check: Check) -> dict[str, Any]:
    about: dict[str, Any] = {check.claim.value: list(check.nodes)}
    if check.program is not None:
        about = {"run": _program(check.program), "on": check.nodes[0]}
    optional: dict[str, Any] = {
        "via": check.via.value if check.claim is Claim.REACH else None,
        "loss": share_text(check.loss) if check.loss is not None else None,
        "throughput": rate_text(check.throughput) if check.throughput is not None else None,
        "after": list(check.after) or None,
    }
    stated = {key: value for key, value in optional.items() if value is not None}
    return {"name": check.name} | about | {"within": duration_text(check.within)} | stated


def _lab(lab: Lab) -> dict[str, Any]:
    faults = {"faults": list(lab.faults)} if lab.faults else {}
    sites = {site.name: _site(site) for site in lab.sites}
    return {"internet": _texts(lab.internet), "sites": sites} | faults


def _site(site: Site) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "behind": site.behind,
        "lan": str(site.lan[0].network) if site.lan else None,
        "link": _link(site.link) if site.link is not None else None,
        "forward": {f"{each.protocol}/{each.port}": f"{each.to}:{each.inside}" for each in site.forward}
        or None,
        "one_to_one": site.one_to_one,
        "ipv6": site.ipv6.value if site.nat.translates else None,
    }
    stated = {key: value for key, value in optional.items() if value is not None}
    hosts = {host.node: _host(host) for host in site.hosts}
    return {"nat": _nat(site.nat), "wan": _texts(site.wan)} | stated | {"hosts": hosts}


def _forward(forward: Forward) -> tuple[str, str]:
    return (f"{forward.protocol}/{forward.port}", f"{forward.to}:{forward.inside}")


def _nat(nat: Nat) -> str | dict[str, Any]:
    if nat == OPEN:
        return NatPreset.NONE.value
    spelled: dict[str, Any] = {"mapping": nat.mapping.value, "filtering": nat.filtering.value}
    if nat.translates:
        spelled |= {"hairpin": nat.hairpin, "ports": nat.ports.value}
    if nat.sessions is not None:
        spelled["sessions"] = nat.sessions
    return spelled | {
        "unsolicited": nat.unsolicited.value,
        "lifetime": f"{nat.lifetime}s",
        "udp": nat.udp.value,
        "tcp": nat.tcp.value,
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "delay": duration_text(link.delay),
        "jitter": duration_text(link.jitter),
        "loss": share_text(link.loss),
        "rate": rate_text(link.rate),
        "reorder": share_text(link.reorder),
        "duplicate": share_text(link.duplicate),
        "seed": link.seed,
    }


def _host(host: Host) -> dict[str, Any]:
    link = {"link": _link(host.link)} if host.link is not None else {}
    return {"address": [str(own.ip) for own in host.addresses]} | link


def _secret(source: SecretSource) -> dict[str, str]:
    return {source.kind: source.value}


def _texts(values: Sequence[object]) -> list[str]:
    return [str(value) for value in values]
