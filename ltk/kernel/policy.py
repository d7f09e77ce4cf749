"""Policy rules (ip-rule(8)): which routing table is asked for which packets, read and changed.

One topology has one number, which is its firewall mark and its routing table alike. A rule bears, like a
route, the protocol number that marks it as ltk's, and its priority says whose of ltk's topologies it is.
"""

from __future__ import annotations

import errno
import socket
import struct
import zlib
from dataclasses import dataclass

from ltk.kernel.attributes import as_number, attribute, attributes, number
from ltk.kernel.messages import NLM_F_CREATE, NLM_F_EXCL, PROTOCOL, RT_TABLE_MAIN, Request
from ltk.kernel.netlink import Netlink

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34  # linux/rtnetlink.h
# linux/fib_rules.h
FRA_PRIORITY, FRA_FWMARK, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_PROTOCOL = 6, 10, 14, 15, 16, 21
FR_ACT_TO_TBL = 1
FIB_RULE_INVERT = 0x2
WHOLE_MARK = 0xFFFFFFFF
NOT_SUPPRESSED = 0xFFFFFFFF  # what the kernel reports where a rule suppresses nothing

# struct fib_rule_hdr: family, lengths of destination and source, service, table, two reserved, action, flags
RULE = struct.Struct("=BBBBBBBBI")

OWN_MARKS = 0x6C740000  # "lt", as the group of devices; apart from the bits that others are known to use
OWN_NUMBERS = 0xFFF  # of which each topology has one; without the bits that kube-proxy takes for itself
FIRST_PRIORITY = 20_000  # before the kernel's own rules for the tables main and default, 32766 and 32767


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule: packets that do not bear `unmarked` (None: all packets) are looked up in `table`.

    What it finds there with a prefix of at most `suppress` bits counts as not found (None: all counts).
    """

    version: int  # 4 or 6
    priority: int
    table: int
    unmarked: int | None = None
    suppress: int | None = None


def underlay_mark(topology: str) -> int:
    """The mark on what the daemons of `topology` send, and the table that everything else is led by."""
    return OWN_MARKS | zlib.crc32(topology.encode()) & OWN_NUMBERS


def priorities(topology: str) -> tuple[int, int]:
    """The priorities of the topology's rules: what is more special than a default route, and the rest."""
    first = FIRST_PRIORITY + 2 * (underlay_mark(topology) & OWN_NUMBERS)
    return first, first + 1


def around(topology: str, version: int) -> tuple[PolicyRule, PolicyRule]:
    """The rules that lead all packets but the daemons' own by the topology's table.

    Where the main table knows better than by a default route, it is still asked first: the machine's own
    networks stay where they are.
    """
    special, rest = priorities(topology)
    own = underlay_mark(topology)
    return (
        PolicyRule(version, special, RT_TABLE_MAIN, suppress=0),
        PolicyRule(version, rest, own, unmarked=own),
    )


def read(netlink: Netlink) -> list[tuple[PolicyRule, int]]:
    """The rules of the namespace, both families', each with its protocol number.

    Of what a rule can ask for, only what a `PolicyRule` has is read.
    """
    bodies = netlink.dump(RTM_GETRULE, bytes(RULE.size))
    return [_read(body) for body in bodies if body[0] in (socket.AF_INET, socket.AF_INET6)]


def add(rule: PolicyRule) -> Request:
    """Make the rule, marked as ours."""
    return Request(f"adding {_words(rule)}", _body(rule), RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL)


def delete(rule: PolicyRule) -> Request:
    """Remove a rule of ours; one that has gone is as good."""
    gone = (errno.ENOENT, errno.ESRCH)
    return Request(f"removing {_words(rule)}", _body(rule), RTM_DELRULE, tolerated=gone)


def _read(body: bytes) -> tuple[PolicyRule, int]:
    family, _, _, _, table, _, _, _, flags = RULE.unpack_from(body)
    found = attributes(body, RULE.size)
    suppress = as_number(found[FRA_SUPPRESS_PREFIXLEN]) if FRA_SUPPRESS_PREFIXLEN in found else None
    inverted = bool(flags & FIB_RULE_INVERT) and FRA_FWMARK in found
    rule = PolicyRule(
        version=4 if family == socket.AF_INET else 6,
        priority=as_number(found.get(FRA_PRIORITY)),
        table=as_number(found[FRA_TABLE]) if FRA_TABLE in found else table,
        unmarked=as_number(found[FRA_FWMARK]) if inverted else None,
        suppress=None if suppress == NOT_SUPPRESSED else suppress,
    )
    return rule, as_number(found.get(FRA_PROTOCOL))


def _body(rule: PolicyRule) -> bytes:
    family = socket.AF_INET if rule.version == 4 else socket.AF_INET6
    flags = 0 if rule.unmarked is None else FIB_RULE_INVERT
    body = RULE.pack(family, 0, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, flags)
    body += number(FRA_PRIORITY, rule.priority) + number(FRA_TABLE, rule.table)
    body += attribute(FRA_PROTOCOL, bytes((PROTOCOL,)))
    if rule.unmarked is not None:
        body += number(FRA_FWMARK, rule.unmarked) + number(FRA_FWMASK, WHOLE_MARK)
    if rule.suppress is not None:
        body += number(FRA_SUPPRESS_PREFIXLEN, rule.suppress)
    return body


def _words(rule: PolicyRule) -> str:
    return f"the IPv{rule.version} policy rule {rule.priority} for table {rule.table}"
