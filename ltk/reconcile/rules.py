"""nftables rule sets as resources that can be compared.

What nft prints of a rule differs from what was loaded, so texts cannot be compared. Every rule
therefore bears a comment with a hash of its own text, and the comments in their order, with the heads
of the chains, are the fingerprint: a rule removed, added, moved or replaced by hand is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any, Literal

from ltk.reconcile.resources import Ruleset

FAMILY, TABLE = "inet", "ltk"
POLICY = "accept"  # of every chain; what is to be dropped, a rule drops
UNMARKED = "a rule without a mark"
STORE_SIZE = 65535  # elements; as many as an address has ports


@dataclass(frozen=True, slots=True)
class Chain:
    """Its rules in order. A base chain has a hook: type, hook and priority are nft's words for it.

    One without a hook is jumped to by others.
    """

    name: str
    type: str | None = None
    hook: str | None = None
    priority: int | None = None
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """What packets fill or refer to: a set, a map or a timeout of connection tracking.

    `type` is nft's type of a set or map, and the protocol of a timeout. The contents of sets and maps
    come and go with the traffic, so they are nothing that anybody wants or misses. Those without a
    `timeout` stay: a set whose elements count, and would begin anew.
    """

    kind: Literal["set", "map", "ct timeout"]
    name: str
    type: str
    timeout: int | None = None  # seconds

    @property
    def declaration(self) -> str:
        """The object in nft's language."""
        if self.kind == "ct timeout":
            policy = f"{{ unreplied : {self.timeout}, replied : {self.timeout} }}"
            return f"ct timeout {self.name} {{ protocol {self.type}; l3proto ip; policy = {policy}; }}"
        ends = "" if self.timeout is None else f",timeout; timeout {self.timeout}s"
        body = f"type {self.type}; size {STORE_SIZE}; flags dynamic{ends};"
        return f"{self.kind} {self.name} {{ {body} }}"

    @property
    def fingerprint(self) -> str:
        """By what it is compared; nft leaves out timeouts that are the kernel's own, so a name tells them."""
        if self.kind == "ct timeout":
            return f"ct timeout {self.name} {self.type}"
        return " ".join(map(str, filter(None, (self.kind, self.name, self.type, self.timeout))))


def ruleset(
    scope: str,
    chains: tuple[Chain, ...],
    counters: tuple[str, ...],
    stores: tuple[Store, ...] = (),
    table: str = TABLE,
) -> Ruleset:
    """The resource: what nft loads in one transaction, and the fingerprint by which it is compared."""
    fingerprint = [f"counter {name}" for name in sorted(counters)]
    fingerprint += sorted(store.fingerprint for store in stores)
    lines = [f"table {FAMILY} {table} {{}}", f"delete table {FAMILY} {table}", f"table {FAMILY} {table} {{"]
    lines += [f"  counter {name} {{}}" for name in counters]
    lines += [f"  {store.declaration}" for store in stores]
    # a chain that others jump to must be there before them
    lines += [f"  chain {chain.name} {{}}" for chain in chains if chain.hook is None]
    for chain in sorted(chains, key=lambda each: each.name):
        base = chain.hook is not None
        fingerprint.append(
            _head(chain.name, chain.type, chain.hook, chain.priority, POLICY if base else None)
        )
        lines.append(f"  chain {chain.name} {{")
        if base:
            head = f"type {chain.type} hook {chain.hook} priority {chain.priority}; policy {POLICY};"
            lines.append(f"    {head}")
        for rule in chain.rules:
            mark = blake2s(rule.encode(), digest_size=6).hexdigest()
            fingerprint.append(mark)
            lines.append(f'    {rule} comment "{mark}"')
        lines.append("  }")
    lines.append("}\n")
    return Ruleset(scope, tuple(fingerprint), "\n".join(lines), table)


def fingerprint(objects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fingerprint of a table as nft reports it (the objects of its JSON)."""
    counters = sorted(each["counter"]["name"] for each in objects if "counter" in each)
    found = [f"counter {name}" for name in counters]
    found += sorted(_reported(each) for each in objects if each.keys() & {"set", "map", "ct timeout"})
    chains = [each["chain"] for each in objects if "chain" in each]
    rules = [each["rule"] for each in objects if "rule" in each]
    for chain in sorted(chains, key=lambda each: str(each["name"])):
        found.append(_head(*(chain.get(each) for each in ("name", "type", "hook", "prio", "policy"))))
        found += [rule.get("comment", UNMARKED) for rule in rules if rule["chain"] == chain["name"]]
    return tuple(found)


def _reported(entry: Mapping[str, Any]) -> str:
    match entry:
        case {"ct timeout": {"name": name, "protocol": protocol}}:
            return f"ct timeout {name} {protocol}"
        case {"map": {"name": name, "type": key, "map": value, "timeout": timeout}}:
            return f"map {name} {_joined(key)} : {_joined(value)} {timeout}"
        case {"set": {"name": name, "type": key, "timeout": timeout}}:
            return f"set {name} {_joined(key)} {timeout}"
        case {"set": {"name": name, "type": key}}:
            return f"set {name} {_joined(key)}"
    return f"{', '.join(entry)} of somebody else"


def _joined(kind: str | Sequence[str]) -> str:
    return kind if isinstance(kind, str) else " . ".join(kind)


def removal(table: str = TABLE) -> str:
    """What nft loads to be rid of the table, whether it is there or not."""
    return f"table {FAMILY} {table} {{}}\ndelete table {FAMILY} {table}\n"


def _head(*parts: str | int | None) -> str:
    return " ".join(["chain", *map(str, parts)])
