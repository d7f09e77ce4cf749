"""nftables rule sets as resources that can be compared.

What nft prints of a rule differs from what was loaded, so texts cannot be compared. Every rule
therefore bears a comment with a hash of its own text, and the comments in their order, with the heads
of the chains, are the fingerprint: a rule removed, added, moved or replaced by hand is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any

from ltk.reconcile.resources import Ruleset

FAMILY, TABLE = "inet", "ltk"
POLICY = "accept"  # of every chain; what is to be dropped, a rule drops
UNMARKED = "a rule without a mark"


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain: `hook` in nft's words ("nat hook postrouting priority 100"), and its rules in order."""

    name: str
    type: str
    hook: str
    priority: int
    rules: tuple[str, ...]


def ruleset(scope: str, chains: tuple[Chain, ...], counters: tuple[str, ...]) -> Ruleset:
    """The resource: what nft loads in one transaction, and the fingerprint by which it is compared."""
    fingerprint = [f"counter {name}" for name in sorted(counters)]
    lines = [f"table {FAMILY} {TABLE} {{}}", f"delete table {FAMILY} {TABLE}", f"table {FAMILY} {TABLE} {{"]
    lines += [f"  counter {name} {{}}" for name in counters]
    for chain in sorted(chains, key=lambda each: each.name):
        fingerprint.append(_head(chain.name, chain.type, chain.hook, chain.priority, POLICY))
        lines.append(f"  chain {chain.name} {{")
        lines.append(f"    type {chain.type} hook {chain.hook} priority {chain.priority}; policy {POLICY};")
        for rule in chain.rules:
            mark = blake2s(rule.encode(), digest_size=6).hexdigest()
            fingerprint.append(mark)
            lines.append(f'    {rule} comment "{mark}"')
        lines.append("  }")
    lines.append("}\n")
    return Ruleset(scope, tuple(fingerprint), "\n".join(lines))


def fingerprint(objects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fingerprint of a table as nft reports it (the objects of its JSON)."""
    counters = sorted(each["counter"]["name"] for each in objects if "counter" in each)
    found = [f"counter {name}" for name in counters]
    chains = [each["chain"] for each in objects if "chain" in each]
    rules = [each["rule"] for each in objects if "rule" in each]
    for chain in sorted(chains, key=lambda each: str(each["name"])):
        found.append(_head(*(chain.get(each) for each in ("name", "type", "hook", "prio", "policy"))))
        found += [rule.get("comment", UNMARKED) for rule in rules if rule["chain"] == chain["name"]]
    return tuple(found)


def removal() -> str:
    """What nft loads to be rid of the table, whether it is there or not."""
    return f"table {FAMILY} {TABLE} {{}}\ndelete table {FAMILY} {TABLE}\n"


def _head(*parts: str | int | None) -> str:
    return " ".join(["chain", *map(str, parts)])
