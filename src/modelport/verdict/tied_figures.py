"""What is said of figures that ties have moved, and what of them is no figure any more."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.core.values import Check
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Ties
from modelport.verdict.rules import INCONCLUSIVE, judged_metrics


def rounding_of(rounded: str, tied: Ties) -> str:
    """Return what rounded the outputs before they came here, where that could make ties that lower a figure.

    Where a tie counts as right it lowers none.
    """
    return "" if tied.count_as_right else rounded


def tie_notes(rounding: str, tied: Ties) -> list[str]:
    """Return what is to be said of rows that a tie decides: any where outputs were rounded, else too many."""
    metrics = list(tied.counts)
    affected = tied.affected(metrics)
    if not affected or not (rounding or tied.too_many(metrics)):
        return []
    named = ", ".join(f"{name}: {count} of {tied.n} rows" for name, count in affected.items())
    counted = f"ties decide {named}; a tie counts as {'right' if tied.count_as_right else 'wrong'}"
    return [f"{rounding} are too few: {counted}. Save the outputs as NPY or BIN in float32" if rounding else counted]


def digit_checks(rounding: str, recipe: Recipe, tied: Ties, few: Sequence[str]) -> tuple[Check, ...]:
    """Return the check that too many rows fail whose outcome the rounding has decided."""
    judged = judged_metrics(recipe)
    if not rounding or not tied.too_many(judged):
        return ()
    most = max(tied.affected(judged).values())
    return (Check("txt_digits", INCONCLUSIVE, most, 0, few[0]),)
