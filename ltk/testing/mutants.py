"""Deliberately broken variants of ltk: a proof that passes on one of them proves nothing.

Each mutant breaks one promise by replacing a method of a class with a variant. A daemon installs the one
that LTK_MUTANT names as it starts, and refuses to start with one outside of a test run.
"""

from __future__ import annotations

import difflib
import os

from ltk.errors import InvalidInputError
from ltk.testing import (
    broken_bursts,
    broken_captures,
    broken_checks,
    broken_faults,
    broken_hosts,
    broken_paths,
    broken_plans,
    broken_reader,
    broken_rollbacks,
    broken_routers,
    broken_searches,
    broken_secrets,
    broken_sessions,
    broken_transports,
    broken_users,
    broken_watch,
)
from ltk.testing.breaking import MUTANTS

BROKEN = (
    broken_bursts,
    broken_captures,
    broken_checks,
    broken_faults,
    broken_hosts,
    broken_paths,
    broken_plans,
    broken_reader,
    broken_rollbacks,
    broken_routers,
    broken_searches,
    broken_secrets,
    broken_sessions,
    broken_transports,
    broken_users,
    broken_watch,
)  # they register their mutants as they are imported
TEST_RUN = "PYTEST_CURRENT_TEST"  # set by pytest while a test runs, and inherited by what it starts


def names() -> tuple[str, ...]:
    """All mutants, in the order of the alphabet."""
    return tuple(sorted(MUTANTS))


def install(name: str) -> None:
    """Break this process as the mutant `name` does, until it ends.

    Raises InvalidInputError outside of a test run, and for a name that is no mutant's.
    """
    doing = f"installing the mutant {name!r}"
    if TEST_RUN not in os.environ:
        raise InvalidInputError(
            doing, "only a test may run a program that is broken on purpose", hint="Unset LTK_MUTANT."
        )
    if name not in MUTANTS:
        near = difflib.get_close_matches(name, MUTANTS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names())}."
        raise InvalidInputError(doing, "there is no such mutant", hint=hint)
    MUTANTS[name]()
