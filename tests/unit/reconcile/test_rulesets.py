"""A table as nft prints it is recognised as the one that was loaded, and as no other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from hashlib import blake2s
from typing import Any

import pytest

from ltk.reconcile.rules import Chain, fingerprint, ruleset

SCOPE = "ltk-t-home"
ACCEPT, DROP, MASQUERADE = (
    'iifname "wan" ct state established,related accept',
    'iifname "wan" counter name unsolicited drop',
    'oifname "wan" masquerade',
)
WANTED = ruleset(
    SCOPE,
    (
        Chain("source", "nat", "postrouting", 100, (MASQUERADE,)),
        Chain("forward", "filter", "forward", 0, (ACCEPT, DROP)),
    ),
    ("unsolicited", "other"),
)


def mark(rule: str) -> str:
    return blake2s(rule.encode(), digest_size=6).hexdigest()


# What `nft -j list table inet ltk` prints after WANTED was loaded, in the form of libnftables-json(5):
# nft orders the objects by kind, spells rules as expressions, and adds handles and counts.
IN_TABLE = {"family": "inet", "table": "ltk"}
FROM_WAN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "wan"}}
ANSWERS = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
PRINTED: list[dict[str, Any]] = [
    {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
    {"table": {"family": "inet", "name": "ltk", "handle": 1}},
    {"counter": IN_TABLE | {"name": "unsolicited", "handle": 2, "packets": 7, "bytes": 420}},
    {"counter": IN_TABLE | {"name": "other", "handle": 3, "packets": 0, "bytes": 0}},
    {
        "chain": IN_TABLE
        | {"name": "forward", "handle": 4, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}
    },
    {
        "chain": IN_TABLE
        | {
            "name": "source",
            "handle": 5,
            "type": "nat",
            "hook": "postrouting",
            "prio": 100,
            "policy": "accept",
        }
    },
    {
        "rule": IN_TABLE
        | {"chain": "forward", "handle": 6, "comment": mark(ACCEPT)}
        | {"expr": [FROM_WAN, ANSWERS, {"accept": None}]}
    },
    {
        "rule": IN_TABLE
        | {"chain": "forward", "handle": 7, "comment": mark(DROP)}
        | {"expr": [FROM_WAN, {"counter": "unsolicited"}, {"drop": None}]}
    },
    {
        "rule": IN_TABLE
        | {"chain": "source", "handle": 8, "comment": mark(MASQUERADE)}
        | {"expr": [{"masquerade": None}]}
    },
]


def test_what_nft_prints_of_a_table_is_recognised() -> None:
    assert fingerprint(PRINTED) == WANTED.fingerprint


def test_counted_packets_and_the_order_of_chains_make_no_difference() -> None:
    printed = copy.deepcopy(PRINTED)
    printed[2]["counter"]["packets"] = 1_000_000
    printed[4], printed[5] = printed[5], printed[4]
    assert fingerprint(printed) == WANTED.fingerprint


def remove_a_rule(printed: list[dict[str, Any]]) -> None:
    del printed[7]


def remove_a_chain(printed: list[dict[str, Any]]) -> None:
    del printed[8], printed[5]


def remove_a_counter(printed: list[dict[str, Any]]) -> None:
    del printed[3]


def add_a_rule(printed: list[dict[str, Any]]) -> None:
    expression = [{"accept": None}]
    printed.append({"rule": IN_TABLE | {"chain": "forward", "handle": 9, "expr": expression}})


def replace_a_rule(printed: list[dict[str, Any]]) -> None:
    del printed[7]["rule"]["comment"]


def swap_two_rules(printed: list[dict[str, Any]]) -> None:
    printed[6], printed[7] = printed[7], printed[6]


def move_a_rule(printed: list[dict[str, Any]]) -> None:
    printed[7]["rule"]["chain"] = "source"


def add_a_chain(printed: list[dict[str, Any]]) -> None:
    printed.append({"chain": IN_TABLE | {"name": "extra", "handle": 9}})


def change_the_policy(printed: list[dict[str, Any]]) -> None:
    printed[4]["chain"]["policy"] = "drop"


def change_the_priority(printed: list[dict[str, Any]]) -> None:
    printed[4]["chain"]["prio"] = -300


@pytest.mark.parametrize(
    "by_hand",
    [
        remove_a_rule,
        remove_a_chain,
        remove_a_counter,
        add_a_rule,
        replace_a_rule,
        swap_two_rules,
        move_a_rule,
        add_a_chain,
        change_the_policy,
        change_the_priority,
    ],
)
def test_a_change_by_hand_is_found(by_hand: Callable[[list[dict[str, Any]]], None]) -> None:
    printed = copy.deepcopy(PRINTED)
    by_hand(printed)
    assert fingerprint(printed) != WANTED.fingerprint


def test_loading_replaces_the_table_in_one_transaction() -> None:
    lines = WANTED.text.splitlines()
    assert lines[:3] == ["table inet ltk {}", "delete table inet ltk", "table inet ltk {"]
    for rule in (ACCEPT, DROP, MASQUERADE):
        assert f'    {rule} comment "{mark(rule)}"' in lines


def test_rule_sets_are_compared_by_what_they_do_not_by_their_text() -> None:
    printed = ruleset(SCOPE, (), ())
    assert printed != WANTED
    assert WANTED.text not in repr(WANTED)
