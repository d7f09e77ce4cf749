"""What the routers of a lab's sites have forwarded, by their own counters.

Each router counts what leaves its site for one other place and for the hub, and what it has let in from
there: a datagram that its filter or its NAT refused is not among that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows import DATA
from harness import Lab
from streams import PAYLOAD

from ltk.kernel import nft
from ltk.kernel.attributes import as_text, attributes
from ltk.kernel.netlink import Netlink
from ltk.kernel.nftables import (
    FAMILIES,
    GET_OBJECT,
    HEADER,
    NETLINK_NETFILTER,
    OBJECT_DATA,
    OBJECT_NAME,
    TABLE,
    U64,
)

COUNTER_BYTES, COUNTER_PACKETS = 1, 2  # NFTA_COUNTER_* of linux/netfilter/nf_tables.h
HEADERS = 28  # bytes of IPv4 and UDP
DATAGRAM = 32 + -(-(PAYLOAD + HEADERS) // 16) * 16  # bytes of a UDP payload with one datagram of a stream
_TABLE = "tally"
_NAMES = ("direct_out", "direct_in", "relay_out", "relay_in", "probes")


@dataclass(frozen=True, slots=True)
class Tally:
    """Datagrams of data that a router forwarded: directly from and to the other site, and the hub.

    `probes` are those without data that left for the other site before any data had come from there.
    """

    direct_out: int
    direct_in: int
    relay_out: int
    relay_in: int
    probes: int

    def __sub__(self, before: Tally) -> Tally:
        return Tally(*(getattr(self, name) - getattr(before, name) for name in _NAMES))


def start_counting(lab: Lab, others: Mapping[str, str], hub: str) -> None:
    """Count at each of these sites what goes between it and the other's underlay address, or the hub's."""
    nft.load({lab.scope(site): _rules(other, hub) for site, other in others.items()})


def _rules(other: str, hub: str) -> str:
    data = f"udp dport 1-65535 meta length > {DATA}"
    small = f"udp dport 1-65535 meta length <= {DATA}"
    ways = {
        "direct_out": f'iifname "lan" ip daddr {other} {data}',
        "direct_in": f'oifname "lan" ip saddr {other} {data} add @talks {{ ip saddr }}',
        "relay_out": f'iifname "lan" ip daddr {hub} {data}',
        "relay_in": f'oifname "lan" ip saddr {hub} {data}',
        "probes": f'iifname "lan" ip daddr {other} ip daddr != @talks {small}',
    }
    counters = "".join(f"counter {name} {{}}\n" for name in ways)
    rules = "".join(f"{match} counter name {name}\n" for name, match in ways.items())
    # behind the router's own filter, so that what it drops does not count
    chain = f"chain count {{ type filter hook forward priority 10;\n{rules}}}"
    talks = "set talks { type ipv4_addr; flags dynamic; }\n"
    return f"table inet {_TABLE} {{\n{counters}{talks}{chain}\n}}\n"


def tally(lab: Lab, site: str) -> Tally:
    """What the router has counted so far."""
    counted = dict.fromkeys(_NAMES, 0)
    with Netlink.open(lab.scope(site), NETLINK_NETFILTER) as netlink:
        for answer in netlink.dump(GET_OBJECT, HEADER.pack(FAMILIES["inet"], 0, 0)):
            told = attributes(answer, HEADER.size)
            if as_text(told[TABLE]) == _TABLE:
                name, values = as_text(told[OBJECT_NAME]), attributes(told[OBJECT_DATA])
                (packets,), (size,) = (U64.unpack(values[each]) for each in (COUNTER_PACKETS, COUNTER_BYTES))
                counted[name] = packets if name == "probes" else _datagrams(packets, size)
    return Tally(**counted)


def _datagrams(packets: int, size: int) -> int:
    """How many datagrams those were: what leaves together is one packet to a counter."""
    return max(packets, round((size - HEADERS * packets) / DATAGRAM))
