"""Handing out the addresses of a subnet: first those that the file states, then the next free ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, ip_network

from ltk.topology.expanded import Address, Interface, Network
from ltk.topology.problems import Findings, Path
from ltk.topology.values import first_overlap, host_range


@dataclass(slots=True)
class Pool:
    """The addresses of one subnet and who has them. `key` is where the file states the subnet."""

    network: Network
    key: str
    taken: dict[int, str] = field(default_factory=dict)
    _next: int = 0  # how many of the first addresses are known to be taken

    def take(self, first: int, names: Sequence[str]) -> str | None:
        """Give `names` consecutive addresses from `first` on; returns what is wrong, or None.

        Where something is wrong, the names before it have got theirs.
        """
        usable = host_range(self.network)
        for number, name in enumerate(names, first):
            if number not in usable:
                return self._unusable(first, number, names)
            if (owner := self.taken.get(number)) is not None:
                whose = f" (for {name})" if len(names) > 1 else ""
                return f"{address(self.network, number)}{whose} is already that of {owner}"
            self.taken[number] = name
        return None

    def take_next(self, name: str) -> int | None:
        """Give `name` the lowest free address; None where there is none left."""
        usable = host_range(self.network)
        while self._next < usable.stop - usable.start:
            number = usable.start + self._next
            self._next += 1
            if number not in self.taken:
                self.taken[number] = name
                return number
        return None

    def too_small_for(self, needed: int) -> str:
        """That the subnet cannot hold `needed` addresses, and which size could."""
        usable = host_range(self.network)
        reserved = 2 if self.network.version == 4 else 1
        prefix = self.network.max_prefixlen - (needed + reserved - 1).bit_length()
        have = usable.stop - usable.start
        return f"{self.network} has {have} addresses, needed are {needed} (a /{prefix} has room)"

    def _unusable(self, first: int, number: int, names: Sequence[str]) -> str:
        if number != first:
            start = address(self.network, first)
            return f"{len(names)} addresses from {start} on do not fit into {self.network}"
        given = address(self.network, number)
        what = "network" if given == self.network.network_address else "broadcast"
        return f"{given} is the {what} address of {self.network}"


Pools = Mapping[int, Pool]
"""At most one pool for each IP version."""


def address(network: Network, number: int) -> Address:
    """The address with that integer value, of the network's family."""
    return IPv4Address(number) if network.version == 4 else IPv6Address(number)


def interface(network: Network, number: int) -> Interface:
    """The same with the network's prefix length."""
    if isinstance(network, IPv4Network):
        return IPv4Interface((number, network.prefixlen))
    return IPv6Interface((number, network.prefixlen))


def alone(given: Address) -> Interface:
    """An address that shares no link with any other: a /32 or a /128."""
    return IPv4Interface(given) if isinstance(given, IPv4Address) else IPv6Interface(given)


def claim(
    pools: Pools,
    given: Sequence[Address],
    names: Sequence[str],
    path: Path,
    findings: Findings,
    shift: int = 0,
    elsewhere: int | None = None,
) -> dict[int, int]:
    """Take the stated addresses of `path`, each the first of a run for `names`, from their pools.

    `shift` is added to each. Those of the IP version `elsewhere` are taken at another time. Returns, by
    IP version, the first number that was taken.
    """
    claimed: dict[int, int] = {}
    for index, stated in enumerate(given):
        at = (*path, index)
        if findings.has(at):
            continue  # one message for all the copies
        if stated.version == elsewhere:
            continue
        pool = pools.get(stated.version)
        if pool is None:
            findings.add(at, f"{stated} is an IPv{stated.version} address, and there is no such subnet")
        elif stated not in pool.network:
            findings.add(at, f"{stated} is outside {pool.key} {pool.network}")
        elif stated.version in claimed:
            findings.add(at, f"{stated} is a second address in {pool.network}", "one for each subnet")
        elif shift and int(stated) + shift not in host_range(pool.network):
            findings.add(at, f"the addresses of the copies, from {stated} on, do not fit into {pool.network}")
        else:
            claimed[stated.version] = int(stated) + shift
            if problem := pool.take(int(stated) + shift, names):
                findings.add(at, problem)
    return claimed


def free_lans(taken: Sequence[Network]) -> Iterator[IPv4Network]:
    """Private /24 subnets that share no address with `taken`, from 192.168.1.0/24 on (RFC 1918)."""
    for block in ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8"):
        for number, lan in enumerate(ip_network(block).subnets(new_prefix=24)):
            if number > 0 and isinstance(lan, IPv4Network) and first_overlap(lan, taken) is None:
                yield lan
