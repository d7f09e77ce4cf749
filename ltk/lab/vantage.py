"""The internet's second address, by which a NAT's mapping and filtering are told (RFC 5780, section 2)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from ltk.topology.expanded import Address, Lab, Network

# Prefixes for documentation (RFC 5737, RFC 3849, RFC 9637): the first that the lab itself leaves alone.
CANDIDATES = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8:ffff:ffff::1", "3fff::1")


def second_addresses(lab: Lab) -> tuple[Address, ...]:
    """One for each family of the internet's core, in its order; none that the lab uses otherwise."""
    taken: list[Network] = [*lab.internet]
    for site in lab.sites:
        taken += [lan.network for lan in site.lan]
        taken += [ip_network(wan) for wan in site.wan]
    free = [
        address
        for address in map(ip_address, CANDIDATES)
        if not any(address in network for network in taken if network.version == address.version)
    ]
    return tuple(next(each for each in free if each.version == core.version) for core in lab.core)
