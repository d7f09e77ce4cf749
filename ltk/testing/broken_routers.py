"""A lab's routers, broken: they do something else than the file says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from ipaddress import IPv4Address

from ltk.kernel import messages
from ltk.kernel.messages import Request
from ltk.lab import nat as lab_nat
from ltk.lab import sites as lab_sites
from ltk.reconcile.resources import Ruleset
from ltk.reconcile.rules import Chain
from ltk.testing.breaking import mutant, replace
from ltk.topology.expanded import Lab, Site
from ltk.topology.nats import Ipv6, Nat, NatFiltering, NatMapping


@mutant("nat-without-hairpin")
def _nat_without_hairpin() -> None:
    """Nothing is turned around, whatever the file says."""
    inwards = lab_nat._inwards

    def from_outside(lab: Lab, site: Site, wan: IPv4Address) -> Iterator[str]:
        return (rule for rule in inwards(lab, site, wan) if 'iifname "lan"' not in rule)

    replace(lab_nat, "_inwards", from_outside)


@mutant("nat-filters-by-address-only")
def _nat_filters_by_address_only() -> None:
    """Whoever may send to a port is let in from each of its own ports: a set too few in the key."""
    make = lab_nat.router_rules

    def weaker(scope: str, lab: Lab, site: Site) -> Ruleset:
        if site.nat.filtering is NatFiltering.ADDRESS_AND_PORT_DEPENDENT and site.nat.translates:
            site = dataclasses.replace(
                site, nat=dataclasses.replace(site.nat, filtering=NatFiltering.ADDRESS_DEPENDENT)
            )
        return make(scope, lab, site)

    replace(lab_sites, "router_rules", weaker)


@mutant("nat-one-port-for-all")
def _nat_one_port_for_all() -> None:
    """A mapping by destination forgets the destination."""
    make = lab_nat.router_rules

    def independent(scope: str, lab: Lab, site: Site) -> Ruleset:
        if site.nat.translates:
            site = dataclasses.replace(
                site, nat=dataclasses.replace(site.nat, mapping=NatMapping.ENDPOINT_INDEPENDENT)
            )
        return make(scope, lab, site)

    replace(lab_sites, "router_rules", independent)


@mutant("nat-lets-everybody-in")
def _nat_lets_everybody_in() -> None:
    """Whoever sends to a port in use is let in: the filtering that the file asks for is left out."""
    make = lab_nat.router_rules

    def open_to_all(scope: str, lab: Lab, site: Site) -> Ruleset:
        if site.nat.translates:
            nat = dataclasses.replace(site.nat, filtering=NatFiltering.ENDPOINT_INDEPENDENT)
            site = dataclasses.replace(site, nat=nat)
        return make(scope, lab, site)

    replace(lab_sites, "router_rules", open_to_all)


@mutant("nat-hairpin-for-everybody")
def _nat_hairpin_for_everybody() -> None:
    """Whoever is let in from outside comes in under the router's own address, as neighbours do."""
    translation = lab_nat._translation

    def hiding(lab: Lab, site: Site) -> Iterator[Chain]:
        for chain in translation(lab, site):
            rules = (
                rule.replace(f" ip saddr {site.lan[0].network} ct status", " ct status")
                for rule in chain.rules
            )
            yield dataclasses.replace(chain, rules=tuple(rules))

    replace(lab_nat, "_translation", hiding)


@mutant("nat-keeps-whose-port-it-was")
def _nat_keeps_whose_port_it_was() -> None:
    """A public port leads to the socket that had it first, until that is forgotten."""
    learned = lab_nat._learned

    def first_come(nat: Nat, wan: IPv4Address) -> Iterator[str]:
        return (rule for rule in learned(nat, wan) if "delete @eim" not in rule)

    replace(lab_nat, "_learned", first_come)


@mutant("nat-without-session-caps")
def _nat_without_session_caps() -> None:
    """A host may have as many sessions as it likes."""
    make = lab_nat.router_rules

    def generous(scope: str, lab: Lab, site: Site) -> Ruleset:
        nat = dataclasses.replace(site.nat, sessions=None)
        return make(scope, lab, dataclasses.replace(site, nat=nat))

    replace(lab_sites, "router_rules", generous)


@mutant("ipv6-without-firewall")
def _ipv6_without_firewall() -> None:
    """IPv6 beside a NAT lets everybody in, whatever the file says."""
    make = lab_nat.router_rules

    def open_to_all(scope: str, lab: Lab, site: Site) -> Ruleset:
        if site.ipv6 is Ipv6.FIREWALL:
            site = dataclasses.replace(site, ipv6=Ipv6.OPEN)
        return make(scope, lab, site)

    replace(lab_sites, "router_rules", open_to_all)


@mutant("lan-with-a-ports-address")
def _lan_with_a_ports_address() -> None:
    """The Ethernet address of a LAN is left to the kernel, which takes the lowest of its ports'."""
    make = messages.create_bridge

    def unpinned(name: str, mtu: int, _hardware: bytes | None = None) -> Request:
        return make(name, mtu)

    replace(messages, "create_bridge", unpinned)
