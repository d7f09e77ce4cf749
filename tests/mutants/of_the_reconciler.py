"""The proofs of the reconciler: labs, hosts, users without privilege, secrets, rollback and watch."""

from __future__ import annotations

from proof import Proof

ROOTLESS = "tests/integration/test_rootless.py"
ROLLBACK = "tests/integration/test_rollback.py"
KILLED = "tests/integration/test_killed_runs.py"
CONFIRM = "tests/integration/test_confirm.py"
PLAN = "tests/unit/reconcile"
PROTOCOL = "tests/unit/protocol"
SECRET_NETWORK = f"{PROTOCOL}/test_secret_network.py"
HOSTS = "tests/integration/test_real_host.py"
MACHINES = "tests/integration/test_machines.py"
WATCH = "tests/integration/test_watch.py"
ADOPT = "tests/integration/test_adopt.py"
VIGIL = "tests/unit/reconcile/test_vigil.py"
BROKEN_IN_PYTEST = (
    HOSTS,
    ROLLBACK,
    KILLED,
    CONFIRM,
    WATCH,
    ADOPT,
)  # integration tests that break what runs in their process

PROOFS = (
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
        "host-streams-without-mark",
        f"{HOSTS}::test_in_a_lab_too_the_internet_sees_the_exit_node[tcp]",
        "alice reaches a server on the internet",
    ),
    Proof(
        "host-sends-without-mark",
        f"{MACHINES}::test_machines_that_apply_one_file_are_one_network",
        "box reaches 10.9.0.1",
    ),
    Proof(
        "host-takes-what-is-anybodys",
        f"{HOSTS}::test_a_setting_that_two_want_is_given_back_by_the_last",
        "what is another topology's would be touched",
    ),
    Proof(
        "host-keeps-its-settings",
        f"{HOSTS}::test_a_setting_that_two_want_is_given_back_by_the_last",
        "a setting was not given back",
    ),
    Proof(
        "watch-deaf-to-rules",
        f"{HOSTS}::test_a_policy_rule_that_goes_is_heard_of",
        "nothing was heard of ip -4 rule add",
    ),
    Proof(
        "watch-forgets-keys",
        f"{HOSTS}::test_a_key_that_is_remembered_is_not_made_anew",
        "another key was made, which nobody knows",
    ),
    Proof(
        "unconfirmed-survives-a-boot",
        f"{HOSTS}::test_what_nobody_has_confirmed_does_not_come_back_after_a_boot",
        "a boot would bring back what nobody confirmed",
    ),
    Proof(
        "adopted-for-good",
        f"{HOSTS}::test_what_was_taken_over_by_an_apply_that_fails_is_given_back",
        "what was taken over was not given back",
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
    Proof(
        "watch-deaf-after-overflow",
        f"{WATCH}::test_what_was_dropped_for_want_of_room_is_told",
        "that was not told",
    ),
    Proof(
        "watch-fights-at-full-speed",
        f"{VIGIL}::test_whoever_fights_gets_growing_gaps_and_is_told_of",
        "repairs within five minutes",
    ),
    Proof(
        "watch-looks-at-each-event",
        f"{VIGIL}::test_a_burst_of_changes_is_one_look",
        "looks at one burst",
    ),
    Proof(
        "adopt-unasked",
        f"{ADOPT}::test_nothing_is_taken_over_unasked",
        "what somebody else made was taken over",
    ),
    Proof(
        "route-of-others-replaced",
        f"{ADOPT}::test_a_route_of_somebody_else_is_not_replaced",
        "a route of somebody else was changed",
    ),
)
