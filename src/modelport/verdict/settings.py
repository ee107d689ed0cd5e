"""How a verdict is to be come by: what the command line says beside the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelport.core import options
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance


@dataclass(frozen=True, slots=True)
class Judging:
    """How sure a verdict must be, of what, and in which order samples came."""

    confidence: float = options.CONFIDENCE
    max_drop: float | None = None  # in place of the recipe's tolerance, in its unit
    max_skipped: float = options.MAX_SKIPPED
    until_decided: bool = False
    order: str = "data"
    planned: int | None = None  # samples that there were to score; None: those that were
    seed: int = 0  # of resamples
    bounds: bool = True  # whether intervals are told; a verdict that is only counted needs none

    def __post_init__(self) -> None:
        """Raise UsageError for a value that is none."""
        options.confidence(self.confidence)
        options.drop("--max-drop", self.max_drop)
        options.share("--max-skipped", self.max_skipped)

    def tolerance(self, recipe: Recipe) -> Tolerance:
        """Return what may be lost."""
        if self.max_drop is None:
            return recipe.tolerance
        return recipe.tolerance.model_copy(update={"value": self.max_drop})

    def notes(self, recipe: Recipe) -> list[str]:
        """Return what is to be said of a tolerance that is not the recipe's."""
        if self.max_drop is None or self.max_drop == recipe.tolerance.value:
            return []
        unit = "percent of the reference" if recipe.tolerance.unit == "percent_of_reference" else "points"
        return [f"the tolerance is {self.max_drop:g} {unit} by --max-drop, the recipe's is {recipe.tolerance.value:g}"]

    def statistics(self, recipe: Recipe, full_set: bool, n: int, decided: bool) -> dict[str, Any]:
        """Return the result's key ``statistics``; ``n`` samples were scored."""
        rule = "full_set" if full_set else "sequential" if self.until_decided else "fixed"
        told = {"rule": rule, "confidence": self.confidence, "n_planned": self.planned or n}
        told |= {"stopped_at": n if decided else None, "order": self.order, "seed": self.seed}
        told["tolerance"] = self.tolerance(recipe).model_dump(mode="json")
        return told | ({} if self.max_drop is None else {"max_drop": self.max_drop})
