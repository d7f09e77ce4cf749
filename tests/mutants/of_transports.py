"""Which proof fails on which program that is broken about UDP and TCP, and in which words."""

from __future__ import annotations

from proof import Proof

_CORE = "tests/unit/protocol/test_transport.py"
_REAL = "tests/integration/test_over_tcp.py"

PROOFS = (
    Proof(
        "transport-never-falls-back",
        f"{_REAL}::test_without_udp_the_tunnel_comes_up_over_tcp_and_a_file_arrives",
        "alice to reach the server",
    ),
    Proof(
        "transport-never-returns",
        f"{_CORE}::test_udp_that_is_blocked_later_costs_seconds_and_is_used_again_once_it_opens",
        "UDP again",
    ),
    Proof(
        "transport-one-way-is-enough",
        f"{_CORE}::test_a_way_that_works_in_one_direction_only_is_not_returned_to",
        "it left TCP, though nothing comes back by UDP",
    ),
    Proof(
        "stream-torn-by-partial-writes",
        "tests/unit/node/test_framing.py::test_a_datagram_that_has_left_in_part_is_finished_before_the_next",
        "the rest of the first one is missing",
    ),
    Proof(
        "streams-of-strangers-stay",
        f"{_REAL}::test_strangers_are_not_answered_and_do_not_stay",
        "those of one address to be bounded",
    ),
)
