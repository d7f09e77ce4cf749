"""Policy rules as resources, put into the kernel and taken out of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ltk.kernel import policy
from ltk.kernel.messages import Request
from ltk.kernel.netlink import Netlink
from ltk.kernel.policy import PolicyRule
from ltk.reconcile.plan import Create, Operation, Remove, Update
from ltk.reconcile.resources import Resource, Rule


def observed(netlink: Netlink, topology: str, scope: str) -> list[tuple[Rule, int]]:
    """The rules of a namespace at the topology's priorities, each with its protocol number."""
    own = policy.priorities(topology)
    return [
        (Rule(scope, rule.version, rule.priority, rule.table, rule.unmarked, rule.suppress), protocol)
        for rule, protocol in policy.read(netlink)
        if rule.priority in own
    ]


def change(_topology: str, operations: Sequence[Operation]) -> None:
    """Make, replace and remove rules; one batch for each namespace."""
    requests: dict[str, list[Request]] = defaultdict(list)
    for operation in operations:
        match operation:
            case Create(rule):
                requests[rule.scope].append(policy.add(_of(rule)))
            case Remove(rule):
                requests[rule.scope].append(policy.delete(_of(rule)))
            case Update(old, rule):
                requests[rule.scope] += [policy.delete(_of(old)), policy.add(_of(rule))]
    for scope, batch in requests.items():
        with Netlink.open(scope) as netlink:
            netlink.run(batch)


def _of(rule: Resource) -> PolicyRule:
    assert isinstance(rule, Rule)
    return PolicyRule(rule.version, rule.priority, rule.table, rule.unmarked, rule.suppress)
