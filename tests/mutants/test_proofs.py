"""Each proof is run against a program that breaks its promise, and has to fail.

That the same proofs pass on the program as it is, is shown where they belong: in tests/unit and
tests/integration, which the mutants' run does not repeat.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import of_transports
import pytest
import reconciler_proofs
from networks import BROKEN_IN_PYTEST, NETWORK_PROOFS
from proof import Proof

from ltk.testing import mutants

REPOSITORY = Path(__file__).parents[2]
PROOF_LIMIT = 60  # seconds; a proof that takes longer is ended with a report and cleans up after itself
RUN_LIMIT = 120.0  # seconds for that and for the cleaning up

TUN = "tests/integration/test_tun_reader.py"
NODE = "tests/unit/node"
KINDS = "tests/integration/test_nat_kinds.py"
MATRIX = (
    "tests/integration/test_nat_matrix.py"
    "::test_two_kinds_of_router_are_passed_directly_exactly_where_that_can_be"
)
CHECKS = "tests/integration/test_checks.py"
PLUGIN = "tests/integration/test_plugin.py"
FAULTS = "tests/integration/test_faults.py"
ROOTLESS = "tests/integration/test_rootless.py"
ROLLBACK = "tests/integration/test_rollback.py"
KILLED = "tests/integration/test_killed_runs.py"
CONFIRM = "tests/integration/test_confirm.py"
WIRE = "tests/unit/lab/test_wire_conditions.py"
LANS = "tests/integration/test_lans.py"
PLAN = "tests/unit/reconcile"
PROTOCOL = "tests/unit/protocol"
SECRET_NETWORK = f"{PROTOCOL}/test_secret_network.py"
ATTACKER = (
    "tests/integration/test_attacker.py::test_an_attacker_who_hears_everything_and_is_anybody_changes_nothing"
)
HOSTS = "tests/integration/test_real_host.py"
MACHINES = "tests/integration/test_machines.py"
INTEROP = "tests/integration/interop"
LESSONS = "tests/integration/test_lessons"
IN_PROCESS = (reconciler_proofs.WATCH, reconciler_proofs.ADOPT)


PROOFS = (
    *NETWORK_PROOFS,
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
        "did not end within 1 s of SIGTERM",
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
    Proof("session-no-replay-window", f"{ATTACKER}[direct]", "not exactly the pings were delivered"),
    Proof("endpoint-from-anybody", f"{ATTACKER}[relay]", "not every ping came back"),
    Proof("path-heard-means-connected", f"{ATTACKER}[relay]", "not every ping came back"),
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
        "plan-removes-in-the-order-of-creation",
        f"{PLAN}/test_plan.py::test_wanting_nothing_removes_everything",
        "processes still live there",
    ),
    Proof(
        "plan-takes-over-what-is-foreign",
        f"{PLAN}/test_plan.py::test_what_bears_no_mark_is_neither_touched_nor_taken_over",
        "in the way: ",
    ),
    Proof(
        "saved-plan-agrees-to-anything",
        f"{PLAN}/test_saved.py::test_it_agrees_to_nothing_else",
        "it agrees to another state",
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
    Proof(
        "host-sends-without-mark",
        f"{MACHINES}::test_machines_that_apply_one_file_are_one_network",
        "box reaches 10.9.0.1",
    ),
    Proof(
        "host-takes-what-is-anybodys",
        f"{HOSTS}::test_a_host_gets_what_is_its_own_and_is_afterwards_what_it_was",
        "something of somebody else's has gone",
    ),
    Proof(
        "host-keeps-its-settings",
        f"{HOSTS}::test_a_setting_that_two_want_is_given_back_by_the_last",
        "a setting was not given back",
    ),
    Proof(
        "daemon-keeps-its-privileges",
        f"{HOSTS}::test_the_daemons_of_a_lab_have_next_to_no_privileges",
        "privileges that a daemon does not need",
    ),
    Proof(
        "place-never-ends",
        f"{ROOTLESS}::test_a_user_without_privilege_has_a_lab_and_the_machine_is_as_before",
        "all of it to end",
    ),
    Proof(
        "place-leaves-orphans",
        f"{ROOTLESS}::test_what_was_killed_is_cleared_away_and_the_next_command_starts_clean[the keeper]",
        "something of the lab has stayed",
    ),
    Proof(
        "place-in-anybodys-folder",
        f"{ROOTLESS}::test_a_folder_that_somebody_else_has_made_is_not_used",
        "ltk status quickstart: status 3",
    ),
    Proof(
        "journal-after-the-fact",
        f"{KILLED}::test_a_first_apply_that_is_killed_anywhere_is_finished_by_the_next",
        "was begun and is not in the journal",
    ),
    Proof(
        "rollback-brings-no-route-back",
        f"{ROLLBACK}::test_a_change_that_fails_leaves_all_as_it_was_and_disturbs_nobody",
        "gone: ",
    ),
    Proof(
        "guard-dies-with-the-terminal",
        f"{CONFIRM}::test_the_guard_outlives_the_terminal_and_the_shell_of_the_apply",
        "the change stays, though nobody has confirmed it",
    ),
    Proof(
        "secret-key-without-address",
        f"{PROTOCOL}/test_shared_secret.py::test_each_address_has_a_key_of_its_own",
        "assert len(keys) == 256",
    ),
    Proof(
        "secret-answers-strangers",
        f"{SECRET_NETWORK}::test_a_client_with_another_secret_gets_no_answer_and_leaves_no_trace",
        "datagrams that the server has answered with",
    ),
    Proof(
        "secret-no-newcomers",
        f"{SECRET_NETWORK}::test_two_homes_that_nobody_has_configured_become_direct_and_lose_nothing",
        "assert sorted(peers_of(world.server)) == [a.name, b.name]",
    ),
    Proof(
        "secret-peer-before-proof",
        f"{SECRET_NETWORK}::test_who_does_not_prove_a_key_becomes_no_peer",
        "assert peers_of(world.server) == []",
    ),
    Proof(
        "adhoc-device-stays",
        "tests/integration/test_adhoc.py::test_nothing_is_left_of_a_command_however_it_ends[SIGKILL]",
        'for host in ("hub", "alice")} == clean',
    ),
    *(Proof(*each) for each in of_transports.PROOFS),
    *(Proof(*row) for row in reconciler_proofs.ROWS),
)


def test_every_mutant_has_a_proof() -> None:
    assert {proof.mutant for proof in PROOFS} == set(mutants.names())


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: f"{proof.mutant}-{proof.where}")
def test_the_proof_fails_on_the_mutant(proof: Proof, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = run(proof, report)
    printed = f"{proof.test} on {proof.mutant}, status {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, f"not caught by {printed}"
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    counted = {what: int(suite.attrib[what]) for what in ("tests", "failures", "errors", "skipped")}
    assert counted == {"tests": 1, "failures": 1, "errors": 0, "skipped": 0}, printed
    (failure,) = suite.iter("failure")
    assert failure.attrib["message"].startswith(("AssertionError", "assert ")), f"not an assertion: {printed}"
    assert proof.because in failed_assertion(failure), f"caught for another reason: {printed}"


def test_a_mutant_of_something_else_fails_no_proof(tmp_path: Path) -> None:
    """What makes the proofs fail is the mutant, and not the way in which they are run here."""
    proof = next(proof for proof in PROOFS if proof.mutant == "session-no-replay-window")
    done = run(replace(proof, mutant="noise-preshared-key-ignored"), tmp_path / "report.xml")
    assert done.returncode == pytest.ExitCode.OK, f"{done.stdout}\n{done.stderr}"


def failed_assertion(failure: ElementTree.Element) -> str:
    """The source line that failed and what pytest says about it, out of a report's traceback."""
    traceback = (failure.text or "").splitlines()
    return "\n".join(line for line in traceback if line.startswith((">", "E")))


def run(proof: Proof, report: Path) -> subprocess.CompletedProcess[str]:
    """Run the proof in a pytest of its own, on the mutant."""
    environment = os.environ | {"LTK_MUTANT": proof.mutant}
    environment.pop("PYTEST_ADDOPTS", None)
    options = ["-p", "no:cacheprovider", f"--timeout={PROOF_LIMIT}", f"--junit-xml={report}"]
    if proof.test.startswith(
        (
            "tests/unit",
            KINDS,
            CHECKS,
            FAULTS,
            HOSTS,
            LANS,
            MATRIX,
            PLUGIN,
            ROLLBACK,
            KILLED,
            CONFIRM,
            *BROKEN_IN_PYTEST,
            *IN_PROCESS,
        )
    ):
        beside = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), beside)))
        options += ["-p", "break_the_product"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, proof.test],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT,
        check=False,
    )
