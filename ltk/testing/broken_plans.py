"""The reconciler's plan, broken: in the wrong order, and careless of what is somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ltk.testing.breaking import mutant, replace

if TYPE_CHECKING:
    from ltk.reconcile.plan import Operation
    from ltk.reconcile.resources import Key, State


@mutant("plan-removes-in-the-order-of-creation")
def _plan_removes_in_the_order_of_creation() -> None:
    """Namespaces go first, whoever still lives in them."""
    from ltk.reconcile import plan

    def stage(operation: Operation) -> float:
        rank = operation.resource.rank
        return rank - 100.0 if isinstance(operation, plan.Remove) else rank

    replace(plan, "_stage", stage)


@mutant("plan-takes-over-what-is-foreign")
def _plan_takes_over_what_is_foreign() -> None:
    """What stands where something is to be made is not asked about."""
    from ltk.reconcile import plan

    def ignore(_want: State, _have: State, _foreign: Mapping[Key, str]) -> None:
        return

    replace(plan, "_refuse_foreign", ignore)


@mutant("saved-plan-agrees-to-anything")
def _saved_plan_agrees_to_anything() -> None:
    """What has changed since the plan was shown is not looked at."""
    from ltk.reconcile.saved import SavedPlan

    def agree(_plan: SavedPlan, _operations: list[Operation], _have: State) -> None:
        return

    replace(SavedPlan, "agree", agree)
