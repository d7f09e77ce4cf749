"""Kinds of NAT as nftables rule sets (terms of RFC 4787)."""

from __future__ import annotations

from ltk.reconcile.resources import Ruleset
from ltk.reconcile.rules import Chain, ruleset
from ltk.topology.expanded import NatKind, Site

WAN, LAN = "wan", "lan"  # the names of a router's devices


def router_rules(scope: str, site: Site) -> Ruleset:
    """What the router of a site with NAT does to packets.

    What comes in from outside is let in only as an answer to what went out; the rest is
    dropped without a word, at the router itself as behind it, and counted.
    """
    answers_only = f'iifname "{WAN}" ct state established,related accept'
    unsolicited = f'iifname "{WAN}" counter name unsolicited drop'
    chains = (
        Chain("input", "filter", "input", 0, (answers_only, unsolicited)),
        Chain(
            "forward",
            "filter",
            "forward",
            0,
            (answers_only, f'iifname "{WAN}" ct status dnat accept', unsolicited),
        ),
        Chain("source", "nat", "postrouting", 100, (f'oifname "{WAN}" {_mapping(site.nat)}',)),
    )
    return ruleset(scope, chains, ("unsolicited",))


def _mapping(nat: NatKind) -> str:
    match nat:
        case NatKind.SYMMETRIC:
            # a fresh random port for each destination: address-and-port-dependent mapping
            return "masquerade random,fully-random"
        case _:
            # Linux keeps the inside port where it is free: endpoint-independent mapping, preserving
            return "masquerade"


def internet_rules(scope: str) -> Ruleset:
    """The internet filters nothing; it counts what it carries, so that a look at it is a proof."""
    kinds = ("udp", "tcp", "icmp", "icmpv6")
    rules = [f"meta l4proto {kind} counter name carried_{kind} accept" for kind in kinds]
    rules.append("counter name carried_other")
    counters = tuple(f"carried_{kind}" for kind in (*kinds, "other"))
    return ruleset(scope, (Chain("carried", "filter", "forward", 0, tuple(rules)),), counters)
