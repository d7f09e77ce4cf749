"""nftables read over netlink: the objects of one table, with what tells them from each other.

Rules are loaded by the `nft` program, whose language they are written in; but a look at a hundred
routers would start it a hundred times, for answers of which a comment a rule is wanted. The layout is
that of linux/netfilter/nf_tables.h; the objects come out in the shape of libnftables-json(5).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import Any

from ltk.kernel import netns
from ltk.kernel.attributes import BIG_U32, as_text, attributes, text
from ltk.kernel.netlink import Netlink, NetlinkError

NETLINK_NETFILTER = 12  # linux/netlink.h
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES of linux/netfilter/nfnetlink.h
GET_TABLE, GET_CHAIN, GET_RULE, GET_SET, GET_OBJECT = (SUBSYSTEM | kind for kind in (1, 4, 7, 10, 19))
HEADER = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource

FAMILIES = {"inet": 1}  # NFPROTO_* of linux/netfilter.h
HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")  # of the family inet
POLICIES = ("drop", "accept")  # NF_DROP, NF_ACCEPT

TABLE, NAME = 1, 1  # NFTA_*_TABLE, and NFTA_TABLE_NAME
CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
RULE_CHAIN, RULE_USERDATA = 2, 7
OBJECT_NAME, OBJECT_TYPE, OBJECT_DATA = 2, 3, 4
COUNTER, CT_TIMEOUT = 1, 7  # NFT_OBJECT_*
CT_TIMEOUT_PROTOCOL = 2  # NFTA_CT_TIMEOUT_L4PROTO
PROTOCOLS = {6: "tcp", 17: "udp"}
SET_NAME, SET_FLAGS, SET_KEY, SET_DATA, SET_TIMEOUT = 2, 3, 4, 6, 11
ANONYMOUS, MAP = 0x1, 0x8  # NFT_SET_*
# The numbers by which `nft` knows its types; a type of several parts has six bits for each.
TYPES = {7: "ipv4_addr", 8: "ipv6_addr", 12: "inet_proto", 13: "inet_service"}
TYPE_BITS = 6
U64 = struct.Struct(">Q")
COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT of libnftnl: what `nft` keeps with a rule for itself
SIGNED = struct.Struct(">i")


def tables(scopes: Sequence[str], family: str, table: str) -> dict[str, list[dict[str, Any]]]:
    """The objects of the table in each of the namespaces that has it: its counters, timeouts, sets,
    maps, chains and rules; of sets and maps no contents.

    The rules of a chain stand in their order. Raises NetlinkError where a namespace cannot be read.
    """
    found = {}
    for scope in scopes:
        with netns.inside(scope):
            if (there := objects_here(scope, family, table)) is not None:
                found[scope] = there
    return found


def objects_here(scope: str, family: str, table: str) -> list[dict[str, Any]] | None:
    """The same of `scope`, which the calling thread is inside of; None where it has no such table."""
    with Netlink.here(scope, NETLINK_NETFILTER) as netlink:
        return _objects(netlink, family, table) if _is_there(netlink, family, table) else None


def _is_there(netlink: Netlink, family: str, table: str) -> bool:
    try:
        answers = _dump(netlink, GET_TABLE, family)
    except NetlinkError as error:
        if error.code in (errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT):  # no nftables, no tables
            return False
        raise
    return any(as_text(answer[NAME]) == table for answer in answers)


def _objects(netlink: Netlink, family: str, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for answer in _of(table, _dump(netlink, GET_OBJECT, family)):
        if BIG_U32.unpack(answer[OBJECT_TYPE])[0] == COUNTER:
            found.append({"counter": {"name": as_text(answer[OBJECT_NAME])}})
        elif BIG_U32.unpack(answer[OBJECT_TYPE])[0] == CT_TIMEOUT:
            (number,) = attributes(answer[OBJECT_DATA])[CT_TIMEOUT_PROTOCOL]
            protocol = PROTOCOLS.get(number, str(number))
            found.append({"ct timeout": {"name": as_text(answer[OBJECT_NAME]), "protocol": protocol}})
    for answer in _of(table, _dump(netlink, GET_SET, family)):
        if not BIG_U32.unpack(answer[SET_FLAGS])[0] & ANONYMOUS:
            found.append(_set(answer))
    for answer in _of(table, _dump(netlink, GET_CHAIN, family)):
        found.append({"chain": _chain(answer)})
    for answer in _of(table, _dump(netlink, GET_RULE, family, text(TABLE, table))):
        rule = {"chain": as_text(answer[RULE_CHAIN])}
        if (comment := _comment(answer.get(RULE_USERDATA, b""))) is not None:
            rule["comment"] = comment
        found.append({"rule": rule})
    return found


def _chain(answer: dict[int, bytes]) -> dict[str, Any]:
    """A chain; of a base chain with its hook, of any other the name alone."""
    chain: dict[str, Any] = {"name": as_text(answer[CHAIN_NAME])}
    if CHAIN_HOOK in answer:
        hook = attributes(answer[CHAIN_HOOK])
        chain["type"] = as_text(answer[CHAIN_TYPE])
        chain["hook"] = HOOKS[BIG_U32.unpack(hook[HOOK_NUMBER])[0]]
        chain["prio"] = SIGNED.unpack(hook[HOOK_PRIORITY])[0]
        chain["policy"] = POLICIES[BIG_U32.unpack(answer[CHAIN_POLICY])[0]]
    return chain


def _set(answer: dict[int, bytes]) -> dict[str, Any]:
    """A set or a map. Its timeout is in seconds, and is left out where it has none."""
    made: dict[str, Any] = {"name": as_text(answer[SET_NAME]), "type": _type(answer[SET_KEY])}
    if SET_TIMEOUT in answer:
        made["timeout"] = U64.unpack(answer[SET_TIMEOUT])[0] // 1000
    if not BIG_U32.unpack(answer[SET_FLAGS])[0] & MAP:
        return {"set": made}
    return {"map": made | {"map": _type(answer[SET_DATA])}}


def _type(packed: bytes) -> list[str]:
    number = BIG_U32.unpack(packed)[0]
    parts: list[str] = []
    while number:
        part = number & ((1 << TYPE_BITS) - 1)
        parts.insert(0, TYPES.get(part, str(part)))
        number >>= TYPE_BITS
    return parts


def _comment(userdata: bytes) -> str | None:
    """The comment among what `nft` keeps with a rule: triples of one byte type, one byte length, value."""
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == COMMENT:
            return as_text(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return None


def _of(table: str, answers: list[dict[int, bytes]]) -> list[dict[int, bytes]]:
    return [answer for answer in answers if as_text(answer[TABLE]) == table]


def _dump(netlink: Netlink, kind: int, family: str, question: bytes = b"") -> list[dict[int, bytes]]:
    body = HEADER.pack(FAMILIES[family], 0, 0) + question
    return [attributes(answer, HEADER.size) for answer in netlink.dump(kind, body)]
