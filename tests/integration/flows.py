"""Who sends to whom on a lab's internet: counters and captures of the network, and ways to cut it.

What a path is, is never asked of ltk here. A datagram with data is told from a probe by its size alone.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness import Lab, run_ltk

from ltk.reconcile import fault_places

TABLE = "proof"
DATA = 200  # bytes of an IP packet: more than any probe or handshake; pings here are larger
NEW_PORT = 61000  # no ephemeral one
PING = ["-s", "200"]  # an echo request that makes a datagram of data


@dataclass(frozen=True)
class Places:
    """Underlay addresses by the names of nodes and sites."""

    address: dict[str, str]

    @classmethod
    def of(cls, lab: Lab) -> Places:
        told = json.loads(run_ltk("render", str(lab.path), "-o", "json").stdout)["topology"]
        found: dict[str, str] = {}
        for site, spec in told["lab"]["sites"].items():
            wan = spec["wan"][0] if isinstance(spec["wan"], list) else spec["wan"]
            found[site] = wan
            public = "lan" not in spec
            for host, place in spec["hosts"].items():
                address = place["address"]
                address = address[0] if isinstance(address, list) else address
                found[host] = address.partition("/")[0] if public else wan
        return cls(found)


class Flows:
    """Counters on the internet of a lab, and cuts through it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.places = Places.of(lab)
        self._load(
            "add table inet proof; add chain inet proof count "
            "{ type filter hook forward priority -10; }; add chain inet proof cut "
            "{ type filter hook forward priority -5; }; "
            "add set inet proof blocked { type ipv4_addr . ipv4_addr; }; "
            "add set inet proof talked { type ipv4_addr . ipv4_addr; flags dynamic; }; "
            "add rule inet proof cut ip saddr . ip daddr @blocked drop"
        )

    def _load(self, text: str) -> None:
        commands = text.replace("; add ", "\nadd ")
        done = subprocess.run(
            self.lab.command("internet", "nft", "-f", "-"), input=commands, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr

    def count(
        self,
        name: str,
        source: str,
        target: str,
        *,
        data_only: bool = True,
        larger: int = DATA,
        site: str | None = None,
        source_port: int | None = None,
    ) -> None:
        """Count the packets from one place, or one port of it, to another from now on; with data, or all.

        Data are packets of more than `larger` bytes. With `site`, only those count that come in by that
        site's cable, whatever source others may claim.
        """
        size = f"meta length > {larger if data_only else 0}"
        port = f"udp sport {source_port} " if source_port else ""
        self._load(self._counter(name, source, target, f"{port}{size}", site))

    def _counter(self, name: str, source: str, target: str, which: str, site: str | None = None) -> str:
        a, b = self.places.address[source], self.places.address[target]
        return (
            f"add counter inet {TABLE} {name}; add rule inet {TABLE} count {_by_cable(site)}"
            f"ip saddr {a} ip daddr {b} udp dport 1-65535 {which} counter name {name}"
        )

    def count_small(self, name: str, source: str, target: str) -> None:
        """Count the packets without data from one place to another until data comes from there: probes."""
        a, b = self.places.address[source], self.places.address[target]
        self._load(
            f"add rule inet {TABLE} count ip saddr {b} ip daddr {a} udp dport 1-65535 meta length > {DATA} "
            "add @talked { ip daddr . ip saddr }; "
            + self._counter(name, source, target, f"meta length <= {DATA} ip saddr . ip daddr != @talked")
        )

    def watch(self, clients: Iterable[str], pairs: Iterable[tuple[str, str]]) -> None:
        """Count data between the clients of each pair, and between each client and the hub: see `used`."""
        ways = [(f"{a}_{b}", a, b) for pair in pairs for a, b in (pair, pair[::-1])]
        ways += [(f"{a}_{b}", a, b) for client in clients for a, b in ((client, "hub"), ("hub", client))]
        size = f"meta length > {DATA}"
        self._load("; ".join(self._counter(name, a, b, size) for name, a, b in ways))

    def counted(self) -> dict[str, int]:
        """Packets by counter since they were made."""
        return self.lab.counters("internet", TABLE)

    def cut(self, source: str, target: str, *, site: str | None = None) -> None:
        """Let nothing pass from one place to the other, in this direction; with `site` as `count` has it."""
        a, b = self.places.address[source], self.places.address[target]
        where = f"ip saddr {a} ip daddr {b}"
        if site is None:
            self._load(f"add element inet {TABLE} blocked {{ {a} . {b} }}")
        else:
            self._load(f"add rule inet {TABLE} cut {_by_cable(site)}{where} drop")

    def lose(self, source: str, target: str, which: str) -> str:
        """Drop the packets from one place to another for which the match `which` holds.

        Return the name of the counter of those.
        """
        a, b = self.places.address[source], self.places.address[target]
        name = f"lost_{source}_{target}"
        self._load(
            f"add counter inet {TABLE} {name}; add rule inet {TABLE} cut "
            f"ip saddr {a} ip daddr {b} meta l4proto udp {which} counter name {name} drop"
        )
        return name

    def mend(self, source: str, target: str) -> None:
        """Let packets pass from one place to the other again."""
        a, b = self.places.address[source], self.places.address[target]
        self._load(f"delete element inet {TABLE} blocked {{ {a} . {b} }}")

    def heal(self) -> None:
        """Take all cuts away."""
        self._load(f"flush set inet {TABLE} blocked")

    @contextmanager
    def cut_off(self, *pairs: tuple[str, str]) -> Iterator[None]:
        """Both ways cut between each of the pairs, for as long as the body takes."""
        for a, b in pairs:
            self.cut(a, b)
            self.cut(b, a)
        yield
        self.heal()


def seen(datagrams: int) -> int:
    """How many packets a counter must have seen to say that so many datagrams of data went that way.

    Datagrams that leave together are one packet to a counter: of pings that are due every 50 ms, several
    where a program waits as long for its turn.
    """
    return (datagrams + 3) // 4


def _by_cable(site: str | None) -> str:
    return "" if site is None else f'iifname "{site}" '


def longest_gap(output: str) -> float:
    """The longest time without an answer, in seconds, of what a ping with -D at ten a second has said."""
    times = [float(each) for each in re.findall(r"^\[([\d.]+)\] \d+ bytes from", output, re.MULTILINE)]
    assert len(times) > 10, output
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def flush_nat(lab: Lab, site: str, *, new_ports: bool) -> None:
    """Make a site's router forget every mapping, as a restart does; with `new_ports` none comes back."""
    if new_ports:
        # one host behind it, one port for whatever it sends: endpoint-independent as before
        rule = f"meta l4proto udp snat ip to {Places.of(lab).address[site]}:{NEW_PORT}"
        lab.run(site, "nft", "insert", "rule", "inet", "ltk", "mapping", *rule.split())
    fault_places.flush_nat(lab.scope(site))
