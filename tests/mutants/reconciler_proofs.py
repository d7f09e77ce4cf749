"""The proofs of the reconciler and of `ltk watch`: mutant, test, and the words of the failed assertion."""

from __future__ import annotations

WATCH = "tests/integration/test_watch.py"
ADOPT = "tests/integration/test_adopt.py"
VIGIL = "tests/unit/reconcile/test_vigil.py"

ROWS = (
    (
        "watch-deaf-after-overflow",
        f"{WATCH}::test_what_was_dropped_for_want_of_room_is_told",
        "that was not told",
    ),
    (
        "watch-fights-at-full-speed",
        f"{VIGIL}::test_whoever_fights_gets_growing_gaps_and_is_told_of",
        "repairs within five minutes",
    ),
    (
        "watch-looks-at-each-event",
        f"{VIGIL}::test_a_burst_of_changes_is_one_look",
        "looks at one burst",
    ),
    (
        "adopt-unasked",
        f"{ADOPT}::test_nothing_is_taken_over_unasked",
        "what somebody else made was taken over",
    ),
    (
        "route-of-others-replaced",
        f"{ADOPT}::test_a_route_of_somebody_else_is_not_replaced",
        "a route of somebody else was changed",
    ),
)
