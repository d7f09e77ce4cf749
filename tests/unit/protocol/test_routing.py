"""The routing table against a naive twin."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol import routing
from ltk.protocol.routing import RoutingTable


def table(**routes: str) -> RoutingTable[str]:
    return RoutingTable((ip_network(text), name) for name, texts in routes.items() for text in texts.split())


def lookup(routes: RoutingTable[str], address: str) -> str | None:
    return routes.lookup(ip_address(address).packed)


def test_the_longest_prefix_wins_in_both_families():
    routes = table(
        wide="10.0.0.0/8 fd00::/8", narrow="10.1.0.0/16 fd00:1::/32", host="10.1.2.3/32 fd00:1::9/128"
    )
    assert lookup(routes, "10.9.9.9") == "wide"
    assert lookup(routes, "10.1.9.9") == "narrow"
    assert lookup(routes, "10.1.2.3") == "host"
    assert lookup(routes, "fd99::1") == "wide"
    assert lookup(routes, "fd00:1::1") == "narrow"
    assert lookup(routes, "fd00:1::9") == "host"


def test_a_route_that_is_added_counts_from_then_on_whatever_was_looked_up_before():
    routes = table(wide="10.0.0.0/8")
    assert [lookup(routes, "10.0.0.3"), lookup(routes, "fd00::3")] == ["wide", None]
    routes.add(ip_network("10.0.0.3/32"), "host")
    routes.add(ip_network("10.0.0.0/16"), "between")
    routes.add(ip_network("fd00::3/128"), "six")
    assert [lookup(routes, "10.0.0.3"), lookup(routes, "fd00::3")] == ["host", "six"]
    assert [lookup(routes, "10.0.0.4"), lookup(routes, "10.1.0.4")] == ["between", "wide"]


def test_a_default_route_catches_its_own_family_only():
    routes = table(four="0.0.0.0/0")
    assert lookup(routes, "255.255.255.255") == "four"
    assert lookup(routes, "::1") is None


def test_the_later_of_two_equal_prefixes_counts():
    assert lookup(table(first="10.0.0.0/24", second="10.0.0.0/24"), "10.0.0.1") == "second"


def test_a_target_takes_the_place_of_that_to_which_the_prefix_leads_and_of_no_other():
    routes = table(first="10.0.0.0/24 10.0.1.0/24", second="10.0.0.0/24")
    assert [lookup(routes, "10.0.0.1"), lookup(routes, "10.0.1.1")] == ["second", "first"]
    for network in ("10.0.0.0/24", "10.0.1.0/24"):
        routes.replace(ip_network(network), "first", "third")
    assert [lookup(routes, "10.0.0.1"), lookup(routes, "10.0.1.1")] == ["second", "third"]


def test_an_empty_table_knows_nothing():
    assert lookup(RoutingTable(), "10.0.0.1") is None


def test_scanning_addresses_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(routing, "_CACHED_ADDRESSES", 16)
    routes = table(all="0.0.0.0/0")
    for number in range(200):
        assert routes.lookup(number.to_bytes(4, "big")) == "all"
        assert len(routes._cache) <= 16


# Few distinct bits, so that prefixes overlap and addresses hit them.
FOUR = st.builds(
    lambda bits, length: IPv4Network((bits & 0xF000000F, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2, 3, 4, 28, 30, 31, 32]),
)
SIX = st.builds(
    lambda bits, length: IPv6Network((bits & (0xF << 124 | 0xF), length), strict=False),
    st.integers(0, 2**128 - 1),
    st.sampled_from([0, 1, 2, 4, 64, 124, 127, 128]),
)


@pytest.mark.parametrize("networks", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_the_table_agrees_with_a_search_of_all_routes(networks):
    @given(st.lists(st.tuples(networks, st.integers(0, 5)), max_size=12), st.lists(networks, max_size=20))
    def agrees(routes, places):
        subject = RoutingTable(routes)
        for place in places:
            address = place.network_address
            best = None
            for network, target in routes:
                if address in network and (best is None or network.prefixlen >= best[0]):
                    best = (network.prefixlen, target)
            for _ in range(2):  # the second answer comes from the cache
                assert subject.lookup(address.packed) == (best and best[1])

    agrees()
