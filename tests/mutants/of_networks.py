"""The proofs about searches, routers, captures and the disk of secrets."""

from __future__ import annotations

from proof import Proof

HARD = "tests/unit/protocol/test_p2p_hard.py"
CAPTURE = "tests/unit/capture/test_record.py"
INSIDE = "tests/unit/capture/test_inside.py"
DECRYPTING = "tests/integration/test_decrypting.py"
SECRETS_DISK = "tests/integration/test_secrets_disk.py"
CAPS = "tests/integration/test_session_caps.py"
DUAL_STACK = "tests/integration/test_dual_stack.py"
SHARED_PORTS = "tests/integration/test_shared_ports.py"
BROKEN_IN_PYTEST = (
    SECRETS_DISK,
    SHARED_PORTS,
    CAPS,
    DUAL_STACK,
)  # integration tests that break what runs in their process

PROOFS = (
    Proof(
        "search-expects-the-wrong-ports",
        f"{HARD}::test_ports_in_sequence_are_predicted_in_each_first_attempt[one]",
        "not direct with seed 0",
    ),
    Proof(
        "search-closes-what-it-found",
        f"{HARD}::test_the_socket_that_was_found_carries_the_pair_from_then_on[birthday]",
        "the path was lost meanwhile",
    ),
    Proof(
        "search-without-bound",
        f"{HARD}::test_random_ports_are_found_in_nearly_each_first_attempt_within_the_bounds",
        "probes in one round",
    ),
    Proof(
        "search-ignores-the-topology",
        f"{HARD}::test_no_more_is_done_than_both_sides_wish_and_what_could_help[off-in-sequence]",
        "node.opened <= 3",
    ),
    Proof(
        "search-never-leaves-a-spoiled-mapping",
        f"{HARD}::test_a_spoiled_mapping_is_left_for_a_fresh_one",
        "a direct path between a and b",
    ),
    Proof(
        "first-probes-go-all-the-way",
        f"{HARD}::test_first_probes_die_before_the_other_sides_router_and_spoil_nothing",
        "not direct with seed",
    ),
    Proof(
        "capture-as-it-was-read",
        f"{CAPTURE}::test_packets_come_in_the_order_of_their_times_however_their_queues_are_read",
        "assert times == sorted(times)",
    ),
    Proof(
        "capture-silent-about-misses",
        f"{CAPTURE}::test_what_was_missed_is_said",
        "assert said == (",
    ),
    Proof(
        "search-is-cut-off",
        f"{HARD}::test_a_round_goes_on_to_its_end_and_no_further[0.3]",
        "assert not a.events_of(AttemptFailed)",
    ),
    Proof(
        "search-owes-nothing-when-late",
        f"{HARD}::test_a_round_goes_on_to_its_end_and_no_further[0.05]",
        "the last of the probes",
    ),
    Proof(
        "capture-without-new-keys",
        f"{INSIDE}::test_a_new_session_is_asked_for_once_and_one_of_others_not_again_and_again",
        "found.packet == echo()",
    ),
    Proof(
        "keys-for-anybody",
        f"{DECRYPTING}::test_keys_are_told_to_root_who_asks_for_them_and_stand_nowhere_else",
        "another user was told the keys",
    ),
    Proof(
        "fault-secrets-in-words-only",
        f"{SECRETS_DISK}::test_a_read_only_disk_of_secrets_stops_new_keys_and_nothing_else",
        "the disk takes writes",
    ),
    Proof(
        "nat-keeps-whose-port-it-was",
        f"{SHARED_PORTS}::test_a_port_that_a_second_socket_gets_leads_to_that_one",
        "leads to who had it before",
    ),
    Proof(
        "nat-without-session-caps",
        f"{CAPS}::test_a_host_gets_as_many_sessions_as_the_file_says_and_others_are_not_concerned",
        "len(first) == CAP",
    ),
    Proof(
        "ipv6-without-firewall",
        f"{DUAL_STACK}::test_ipv4_is_translated_and_ipv6_is_routed_as_the_file_says",
        '"walled": 0',
    ),
)
