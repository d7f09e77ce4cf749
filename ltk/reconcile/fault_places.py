"""Where faults are in force, and how they get there and away: no file says so, but those places themselves.

Faults of the network are chains of an nftables table in the namespaces of a lab; faults of processes are
held by the supervisor; faults that change what is wanted are kept (`kept_faults`), and so is that of the
secrets' disk, which is mounted.

Every apply looks for faults, and mostly there are none. What knows their words takes its time to import, and
is imported where there is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ltk.errors import InvalidInputError
from ltk.kernel import conntrack, netns, nft, nftables
from ltk.lab.names import FAULTS
from ltk.node.control import NobodyListensError
from ltk.reconcile.kept_faults import InForce, fold, keep, kept, with_faults
from ltk.reconcile.resources import scope_of
from ltk.reconcile.rules import FAMILY, TABLE
from ltk.supervise import client as supervisor
from ltk.topology.expanded import Topology

if TYPE_CHECKING:
    from ltk.topology.faults import Fault, Kill, Stop

OFF = "off"  # a chain of a router that is for a moment as if it were switched off
NOTHING_PASSES = "type filter hook prerouting priority raw; policy drop;"


def listed(topology: Topology) -> list[InForce]:
    """All faults in force, by number. Looks at the kernel and at the supervisor, and changes nothing."""
    return _listed(topology, held(topology.name), _present(topology))


def _listed(
    topology: Topology, down: Mapping[str, InForce], present: Mapping[str, Mapping[str, str]]
) -> list[InForce]:
    found = {*kept(topology.name), *down.values()}
    if not present:
        return sorted(found)
    from ltk.lab import faults as rules

    for chains in present.values():
        for name, words in chains.items():
            if known := rules.read_name(name):
                found.add(InForce(known[0], words, known[1]))
    return sorted(found)


def held(topology: str) -> dict[str, InForce]:
    """By node, what keeps its daemon from running."""
    if not supervisor.is_running(topology):
        return {}
    try:
        listed = supervisor.nodes(topology)
    except NobodyListensError:
        return {}  # it has ended since
    found = {}
    for node in listed:
        if node.fault is not None:
            number, stated, words = node.fault.split(" ", 2)
            found[node.name] = InForce(int(number), words, stated == "stated")
    return found


def hold(topology: str, fault: Kill | Stop, entry: InForce) -> None:
    """Have the supervisor kill or stop the daemon, and leave it so."""
    from ltk.topology.faults import Kill

    words = f"{entry.number} {'stated' if entry.stated else 'injected'} {entry.fault}"
    supervisor.hold_node(topology, fault.node, words, kill=isinstance(fault, Kill))


def settle(topology: Topology, wanted: Iterable[InForce]) -> None:
    """Have those of `wanted` that are rules be in the kernel, as `topology` needs them, and no others.

    One whose places have gone goes with them. What is there as it should be is not touched, and goes on
    counting.
    """
    _settle(topology, wanted, _present(topology))


def _settle(topology: Topology, wanted: Iterable[InForce], present: Mapping[str, Mapping[str, str]]) -> None:
    from ltk.lab import faults as rules
    from ltk.topology.faults import parse

    chains: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in wanted:
        try:
            fault = parse(entry.fault, topology)
        except InvalidInputError:
            continue
        for chain in rules.chains(topology, fault, entry.number, stated=entry.stated):
            chains[chain.scope][chain.name] = chain.text
    texts = {}
    for scope in present.keys() | chains.keys():
        there, due = set(present.get(scope, ())), chains.get(scope, {})
        if there != set(due):
            texts[scope] = _change(there, due)
    nft.load(texts)


def _change(there: set[str], due: dict[str, str]) -> str:
    """What nft loads, at once or not at all."""
    table = " ".join(FAULTS)
    if not due:
        return f"delete table {table}\n"
    lines = [f"add table {table}"]
    for name in sorted(there - due.keys()):
        lines += [f"flush chain {table} {name}", f"delete chain {table} {name}"]
    lines += [f"table {table} {{\nchain {name} {due[name]}\n}}" for name in due if name not in there]
    return "\n".join(lines) + "\n"


def _present(topology: Topology) -> dict[str, dict[str, str]]:
    """By namespace, the names of the chains that are there and the words that their rules bear."""
    found: dict[str, dict[str, str]] = {}
    for scope, objects in nftables.tables(_scopes(topology), *FAULTS).items():
        found[scope] = {str(each["chain"]["name"]): "" for each in objects if "chain" in each}
        for each in objects:
            if "rule" in each:
                found[scope][each["rule"]["chain"]] = each["rule"].get("comment", "")
    return found


def _scopes(topology: Topology) -> list[str]:
    names = [node.name for node in topology.nodes]
    names += [site.name for site in topology.lab.sites] if topology.lab else []
    scopes = (scope_of(topology.name, name) for name in names)
    return [scope for scope in scopes if netns.is_namespace(scope)]


def flush_nat(scope: str) -> None:
    """Have the router in this namespace forget its mappings: connection tracking's, and what it has learned.

    Nothing passes meanwhile: it would be learned by one of what the other still knows.
    """
    found = nftables.tables([scope], FAMILY, TABLE).get(scope, ())
    stores = [(kind, each[kind]["name"]) for each in found for kind in ("map", "set") if kind in each]
    if found:
        nft.load({scope: f"add chain {FAMILY} {TABLE} {OFF} {{ {NOTHING_PASSES} }}\n"})
    conntrack.flush(scope)
    if found:
        forgotten = "".join(f"flush {kind} {FAMILY} {TABLE} {name}\n" for kind, name in stores)
        nft.load({scope: f"{forgotten}delete chain {FAMILY} {TABLE} {OFF}\n"})


def next_number(entries: Iterable[InForce]) -> int:
    """The number of the fault that comes next."""
    return max((each.number for each in entries), default=0) + 1


def keep_stated(topology: Topology) -> None:
    """Keep, of the faults that the topology states, those that change what is wanted.

    Those that it does not state any more, and those that cannot be any more, are kept no longer.
    """
    keep(topology.name, to_keep(topology))


def to_keep(topology: Topology) -> list[InForce]:
    """What `keep_stated` would keep."""
    before = kept(topology.name)
    if not _words(topology) and not before:
        return []
    from ltk.lab import overlay
    from ltk.topology.faults import ChangeAddress, ChangeLink, Move

    stated = [each for each in _stated(topology) if isinstance(each, ChangeAddress | ChangeLink | Move)]
    have = [each for each in before if not each.stated or _is_stated(topology, each, stated)]
    base, have = fold(topology, have)
    number = next_number([*have, *listed(topology)])
    for fault in stated:
        if any(each.stated and _says(topology, each, fault) for each in have):
            continue
        fault = overlay.settled(base, fault)
        base = overlay.applied(base, fault)
        have.append(InForce(number, str(fault), stated=True))
        number += 1
    return have


def put_stated(topology: Topology) -> None:
    """Put the other faults that the topology states in force, and let all rules follow what it says now."""
    by_node, present = held(topology.name), _present(topology)
    there = _listed(topology, by_node, present)
    if not there and not present and not _words(topology):
        return
    from ltk.topology.faults import ChangeAddress, ChangeLink, Kill, Move, Stop, parse

    now = with_faults(topology)
    words = [
        str(each) for each in _stated(topology) if not isinstance(each, ChangeAddress | ChangeLink | Move)
    ]
    wanted = [each for each in there if not each.stated or each.fault in words]
    number = next_number(there)
    for fault in words:
        if not any(each.stated and each.fault == fault for each in wanted):
            wanted.append(InForce(number, fault, stated=True))
            number += 1
    _settle(now, wanted, present)
    for node, entry in by_node.items():
        if entry not in wanted:
            supervisor.release_node(topology.name, node)
    for entry in wanted:
        fault_of = parse(entry.fault, now) if entry.stated else None
        if isinstance(fault_of, Kill | Stop) and fault_of.node not in by_node:
            hold(topology.name, fault_of, entry)


def _words(topology: Topology) -> Sequence[str]:
    """Those of the faults that the topology states."""
    return topology.lab.faults if topology.lab else ()


def _stated(topology: Topology) -> list[Fault]:
    from ltk.topology.faults import parse

    return [parse(each, topology) for each in _words(topology)]


def _is_stated(topology: Topology, entry: InForce, stated: Sequence[Fault]) -> bool:
    return any(_says(topology, entry, fault) for fault in stated)


def _says(topology: Topology, entry: InForce, fault: Fault) -> bool:
    """Whether the kept fault is this one, with the addresses perhaps that it left open."""
    from ltk.topology.faults import ChangeAddress, Move, parse

    try:
        own = parse(entry.fault, topology)
    except InvalidInputError:
        return False
    if (
        isinstance(fault, ChangeAddress | Move)
        and isinstance(own, ChangeAddress | Move)
        and not fault.addresses
    ):
        own = replace(own, addresses=())
    return own == fault
