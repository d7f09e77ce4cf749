"""The proofs of the tunnel, its paths, and of the labs, captures and checks around it."""

from __future__ import annotations

from proof import Proof

TUN = "tests/integration/test_tun_reader.py"
CARRIER = "tests/integration/test_carrier.py"
NODE = "tests/unit/node"
KINDS = "tests/integration/test_nat_kinds.py"
MATRIX = (
    "tests/integration/test_nat_matrix.py"
    "::test_two_kinds_of_router_are_passed_directly_exactly_where_that_can_be"
)
CHECKS = "tests/integration/test_checks.py"
PLUGIN = "tests/integration/test_plugin.py"
FAULTS = "tests/integration/test_faults.py"
WIRE = "tests/unit/lab/test_wire_conditions.py"
LANS = "tests/integration/test_lans.py"
PROTOCOL = "tests/unit/protocol"
INTEROP = "tests/integration/interop"
LESSONS = "tests/integration/test_lessons"
ATTACKER = (
    "tests/integration/test_attacker.py::test_an_attacker_who_hears_everything_and_is_anybody_changes_nothing"
)
BROKEN_IN_PYTEST = (
    CARRIER,
    KINDS,
    CHECKS,
    FAULTS,
    LANS,
    MATRIX,
    PLUGIN,
)  # integration tests that break what runs in their process

PROOFS = (
    Proof(
        "tun-exit-on-would-block",
        f"{TUN}::test_after_idling_not_one_packet_is_lost",
        " packets transmitted, ",
    ),
    Proof(
        "tun-busy-loop",
        f"{TUN}::test_idle_daemons_cost_next_to_nothing",
        "shares of a core while idle",
    ),
    Proof(
        "tun-sleep-in-read",
        f"{TUN}::test_the_tunnel_adds_less_than_a_millisecond_to_the_median_round_trip",
        "milliseconds added to the median",
    ),
    Proof(
        "tun-blocking-read",
        f"{TUN}::test_an_idle_daemon_ends_within_a_second_of_sigterm_and_destroy_leaves_nothing",
        "did not end within 30 s of SIGTERM",
    ),
    Proof(
        "tun-exit-on-interrupt",
        f"{TUN}::test_daemons_that_were_stopped_go_on_where_they_were",
        "60 packets transmitted, ",
    ),
    Proof(
        "tun-exit-on-link-down",
        f"{TUN}::test_a_device_that_was_down_carries_packets_again_in_the_same_sessions",
        "a new handshake was begun",
    ),
    Proof(
        "tun-exit-on-deletion",
        f"{TUN}::test_a_deleted_device_is_made_again_under_the_same_daemon_and_sessions",
        "a daemon ended with its device",
    ),
    Proof(
        "tun-without-carrier",
        f"{CARRIER}::test_a_device_that_the_kernel_turns_on_late_is_awaited",
        "what was sent is lost",
    ),
    Proof(
        "session-no-replay-window",
        f"{PROTOCOL}/test_engine.py::test_a_recorded_datagram_from_elsewhere_moves_nobody",
        "in {Drop.REPLAYED, Drop.STALE_TIMESTAMP}",
    ),
    Proof(
        "session-nonce-reused",
        f"{PROTOCOL}/test_session.py::test_no_nonce_is_used_twice_when_sealing_fails",
        "assert left.sent == 1",
    ),
    Proof(
        "session-never-expires",
        f"{PROTOCOL}/test_peer.py::test_a_session_is_refused_from_180_seconds_on_in_both_directions",
        "SESSION_EXPIRED",
    ),
    Proof(
        "routing-source-not-checked",
        f"{PROTOCOL}/test_engine.py::test_a_client_cannot_speak_for_another_through_the_hub",
        "assert (hub.delivered, b.delivered) == ([], [])",
    ),
    Proof(
        "endpoint-from-anybody",
        f"{PROTOCOL}/test_engine.py::test_a_recorded_datagram_from_elsewhere_moves_nobody",
        'assert b.status("a").endpoint == A',
    ),
    Proof(
        "cookie-mac1-unchecked",
        f"{PROTOCOL}/test_cookie.py::test_mac1_holds_for_whoever_knows_the_public_key",
        "assert not checker.mac1_is_valid",
    ),
    Proof(
        "cookie-mac2-unchecked",
        f"{PROTOCOL}/test_engine.py::test_under_load_every_answer_is_smaller_than_what_it_answers",
        "assert 700 < len(answers)",
    ),
    Proof(
        "noise-preshared-key-ignored",
        f"{PROTOCOL}/test_peer.py::test_different_preshared_keys_never_meet",
        "assert b.delivered == []",
    ),
    Proof(
        "control-socket-for-everybody",
        f"{NODE}/test_control_socket.py::test_the_socket_is_private_whatever_the_umask",
        "== 0o600",
    ),
    Proof(
        "peer-keys-never-erased",
        f"{PROTOCOL}/test_peer.py::test_all_keys_are_gone_540_seconds_after_the_last_handshake",
        "assert [ref for ref in alive if ref() is not None] == []",
    ),
    Proof(
        "peer-stage-unbounded",
        f"{PROTOCOL}/test_peer.py::test_at_most_128_packets_wait_and_the_oldest_make_room",
        'assert a.status("b").staged == 128',
    ),
    Proof(
        "rekey-forgets-the-old-session",
        f"{PROTOCOL}/test_rekey.py::test_a_rekey_under_load_on_a_reordering_and_duplicating_wire_loses_no_packet",
        "assert len(node.delivered) == count",
    ),
    Proof(
        "connect-before-registering",
        f"{LESSONS}_order.py"
        "::test_no_delay_of_control_messages_and_no_stopped_client_keeps_a_pair_from_being_direct",
        "before it knew it",
    ),
    Proof(
        "attempt-one-burst-after-a-sleep",
        f"{PROTOCOL}/test_p2p_rendezvous.py"
        "::test_no_delay_of_the_servers_words_to_one_side_makes_a_difference[0.3]",
        "for: a direct path between a and b",
    ),
    Proof(
        "path-exists-means-connected",
        f"{LESSONS}_proof.py::test_a_pair_that_is_cut_from_the_start_is_relayed_and_loses_nothing",
        "of the first pings were lost",
    ),
    Proof(
        "path-exists-means-connected",
        f"{PROTOCOL}/test_p2p_direct.py::test_a_path_blocked_from_the_start_is_never_used_in_either_direction[False]",
        "last proven inf s ago",
    ),
    Proof(
        "path-heard-means-connected",
        f"{PROTOCOL}/test_p2p_direct.py::test_a_path_blocked_from_the_start_is_never_used_in_either_direction[True]",
        "last proven inf s ago",
    ),
    Proof(
        "path-time-keeps-it-alive",
        f"{PROTOCOL}/test_p2p_losing.py"
        "::test_a_cut_path_costs_less_than_one_and_a_half_seconds_and_then_the_relay_has_it[False]",
        "outage <= OUTAGE",
    ),
    Proof(
        "path-avoided-is-trusted",
        f"{PROTOCOL}/test_p2p_losing.py::test_a_cut_path_costs_those_who_only_answer_no_more[0.2]",
        "outage <= OUTAGE_OF_ANSWERS",
    ),
    Proof(
        "channel-waits-for-the-hello",
        f"{PROTOCOL}/test_p2p_direct.py"
        "::test_the_first_echo_after_a_cold_start_takes_two_round_trips_to_the_server_and_two_by_way_of_it",
        "packet.answered_at - packet.sent_at <=",
    ),
    Proof(
        "session-no-replay-window",  # on the way from the relay to a direct path, data goes over both
        f"{PROTOCOL}/test_p2p_losing.py::test_a_cut_path_that_heals_is_used_again_and_nothing_is_lost",
        "twice",
    ),
    Proof(
        "path-time-keeps-it-alive",
        f"{LESSONS}_proof.py::test_a_path_that_is_cut_costs_a_second_and_a_half_and_tcp_goes_on",
        "an outage of ",
    ),
    Proof(
        "announce-only-at-connect",
        f"{PROTOCOL}/test_p2p_rendezvous.py"
        "::test_a_server_that_lost_its_memory_introduces_clients_that_were_silent",
        "for: a direct path between a and b",
    ),
    Proof(
        "announce-without-acknowledgement",
        f"{LESSONS}_announcing.py::test_announcements_that_nobody_acknowledges_are_repeated_with_growing_gaps",
        "announcement 2",
    ),
    Proof(
        "attempt-only-once",
        f"{LESSONS}_retries.py::test_a_pair_that_has_failed_once_is_tried_again_and_direct_once_it_can_be",
        "the direct paths of ['kate-luke']",
    ),
    Proof(
        "announce-five-times-and-never-again",
        f"{PROTOCOL}/test_p2p_rendezvous.py"
        "::test_announcements_that_nobody_acknowledges_grow_apart_up_to_the_cap_for_ever",
        "max(gaps) <= ANNOUNCE_CAP",
    ),
    Proof(
        "announce-without-acknowledgement",
        f"{PROTOCOL}/test_p2p_rendezvous.py"
        "::test_announcements_that_nobody_acknowledges_grow_apart_up_to_the_cap_for_ever",
        "max(gaps) <= ANNOUNCE_CAP",
    ),
    Proof(
        "attempt-only-once",
        f"{PROTOCOL}/test_p2p_losing.py::test_probes_of_a_blocked_pair_are_few_and_go_on",
        "a.sent.to_clients - before",
    ),
    Proof(
        "attempt-without-back-off",
        f"{PROTOCOL}/test_p2p_losing.py::test_probes_of_a_blocked_pair_are_few_and_go_on",
        "a.sent.to_clients - before",
    ),
    Proof(
        "attempt-never-over",
        f"{PROTOCOL}/test_p2p_direct.py"
        "::test_an_impossible_pair_stays_relayed_and_loses_nothing_for_minutes[APDM/APDF-birthday]",
        "direct_failures >= 3",
    ),
    Proof(
        "relay-reads-along",
        "tests/integration/test_blind_relay.py"
        "::test_the_relay_holds_no_key_of_the_clients_session_and_no_plaintext",
        "a plaintext of the clients is in the server's memory",
    ),
    Proof(
        "isolation-of-introductions-only",
        f"{INTEROP}/test_isolation.py::test_who_were_connected_are_apart_once_the_server_isolates",
        "isolated clients have talked",
    ),
    Proof(
        "endpoint-stays",
        f"{INTEROP}/test_stock_in_p2p.py::test_a_stock_client_roams_with_a_stream_going_on",
        "the pings have stopped",
    ),
    Proof(
        "path-policy-ignored",
        f"{PROTOCOL}/test_p2p_direct.py"
        "::test_a_pair_that_may_not_go_direct_is_relayed_and_sends_no_probe[path=relay-only]",
        "assert (a.sent.to_clients, b.sent.to_clients) == (0, 0)",
    ),
    Proof(
        "path-policy-ignored",
        f"{PROTOCOL}/test_p2p_direct.py::test_a_pair_that_may_only_go_direct_never_relays_a_packet",
        "bulky_to_server) == (0, 0)",
    ),
    Proof(
        "path-idle-as-if-busy",
        f"{PROTOCOL}/test_p2p_losing.py::test_an_idle_direct_pair_sends_ten_packets_a_minute_and_keeps_its_mapping",
        "sent_after - sent_before <= 30",
    ),
    Proof(
        "metrics-wait-for-their-client",
        "tests/integration/test_metrics_server.py"
        "::test_slow_clients_disturb_neither_the_tunnel_nor_other_scrapes",
        "milliseconds that pings waited for slow clients",
    ),
    Proof(
        "nat-without-hairpin",
        f"{KINDS}::test_routers_are_made_as_the_file_says[hairpin]",
        "'hairpin': False",
    ),
    Proof(
        "nat-filters-by-address-only",
        f"{KINDS}::test_routers_are_made_as_the_file_says[filtering]",
        "'filtering': 'address-dependent'",
    ),
    Proof(
        "nat-one-port-for-all",
        f"{KINDS}::test_routers_are_made_as_the_file_says[mapping]",
        "'mapping': 'endpoint-independent'",
    ),
    Proof(
        "nat-lets-everybody-in",
        f"{MATRIX}[APDM random to APDM random]",
        "where it cannot",
    ),
    Proof(
        "path-exists-means-connected",
        f"{MATRIX}[APDM random to APDM random]",
        "where it cannot",
    ),
    Proof(
        "status-says-what-was-hoped",
        f"{MATRIX}[APDM random to APDM random]",
        "says direct, and sent 0 of 5 that way",
    ),
    Proof(
        "nat-hairpin-for-everybody",
        f"{KINDS}::test_who_is_let_in_beside_a_hairpin_comes_under_its_own_address",
        "'filtering': 'address-and-port-dependent'",
    ),
    Proof(
        "lan-with-a-ports-address",
        f"{LANS}::test_a_cable_that_joins_a_lan_and_leaves_it_costs_the_hosts_there_nothing",
        "answers with the cable, and without it again",
    ),
    Proof(
        "burst-loss-papered-over",
        f"{PROTOCOL}/test_burst.py::test_a_lost_datagram_splits_the_super_packet_and_the_rest_still_owes",
        "assert [len(each) for each in opened]",
    ),
    Proof(
        "burst-checksum-not-owed",
        f"{PROTOCOL}/test_burst.py::test_a_lost_datagram_splits_the_super_packet_and_the_rest_still_owes",
        "{NEEDS_CSUM}",
    ),
    Proof(
        "burst-without-replay-window",
        f"{PROTOCOL}/test_engine_bursts.py::test_a_burst_that_comes_again_is_delivered_once",
        "delivered again",
    ),
    Proof(
        "burst-counters-by-their-ends",
        f"{PROTOCOL}/test_engine_bursts.py::test_a_datagram_that_was_overtaken_within_a_burst_is_delivered_later",
        "assert sorted(net.delivered()) == sorted(whole)",
    ),
    Proof(
        "burst-source-not-checked",
        f"{PROTOCOL}/test_engine_bursts.py::test_a_super_packet_from_an_address_that_is_not_the_senders_is_dropped",
        "assert net.b.delivered == []",
    ),
    Proof(
        "merge-without-verifying",
        f"{PROTOCOL}/test_merge.py::test_a_packet_whose_checksum_is_wrong_is_never_given_a_right_one[payload-1]",
        "in found",
    ),
    Proof(
        "inbox-never-filled",
        f"{NODE}/test_loop_turns.py"
        "::test_who_sends_little_waits_a_turn_and_not_for_all_that_another_has_sent",
        "it had to wait for the other sender's datagrams",
    ),
    Proof(
        "check-trusts-status",
        f"{CHECKS}::test_a_status_that_lies_fails_a_check",
        "a lie was believed",
    ),
    Proof(
        "lab-stays-up",
        f"{PLUGIN}::test_a_lab_is_gone_when_its_block_is_left_by_an_error",
        "a lab is still up",
    ),
    Proof(
        "fault-block-one-way",
        f"{FAULTS}::test_who_is_blocked_from_whom_is_deaf_to_them_and_to_nobody_else",
        "both directions are blocked",
    ),
    Proof(
        "wire-never-reorders",
        f"{WIRE}::test_a_fifth_overtakes_where_a_fifth_is_to_be_reordered",
        "assert direction.reordered",
    ),
    Proof(
        "wire-without-a-queue-limit",
        f"{WIRE}::test_a_line_that_is_offered_twice_its_rate_carries_its_rate_and_refuses_the_rest",
        "5 s of the line",
    ),
    Proof("session-no-replay-window", f"{ATTACKER}[direct]", "not exactly the pings were delivered"),
    Proof("endpoint-from-anybody", f"{ATTACKER}[relay]", "not every ping came back"),
    Proof(
        "path-heard-means-connected",
        f"{ATTACKER}[relay]",
        ("not every ping came back", "somebody is taken to be elsewhere"),
    ),
)
