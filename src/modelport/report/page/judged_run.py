"""A run as the accuracy section looks at it: its checks against the source, and where its figures lie by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelport.core.values import Check
from modelport.recipes.tables import Tolerance
from modelport.report.result import Result
from modelport.report.sentence import AGAINST
from modelport.tasks.scoring import SOURCE_AGREEMENT
from modelport.verdict.drop import unit_of
from modelport.verdict.words import unit_word

# The most that a figure can be, by unit.
WHOLE = {"percent": 100.0, "fraction": 1.0}


@dataclass(frozen=True, slots=True)
class Run:
    """A result and what it is called beside the others."""

    label: str
    result: Result

    def check_of(self, metric: str) -> tuple[int, Check] | None:
        """Return the check of a metric against the source, and its place."""
        return next(((at, one) for at, one in enumerate(self.result.checks) if one.name == metric + AGAINST), None)

    def unit(self, metric: str) -> tuple[float, str]:
        """Return what one unit of losses is in the metric's own unit, and its word; 0 of a source that has nothing."""
        source = self.result.source.metrics[metric]
        told = self.result.further.get("statistics", {}).get("tolerance")
        if told is not None:
            tolerance = Tolerance.model_validate(told)
            return unit_of(source, tolerance), unit_word(tolerance.unit)
        return (0.01 if source.unit == "fraction" else 1.0), "points"

    def around(self, metric: str) -> tuple[float | None, float | None] | None:
        """Return between what the figure lies by its loss's interval, in its own unit; None where there is none.

        A share lies between none and all whatever the interval says.
        """
        found, source = self.check_of(metric), self.result.source.metrics.get(metric)
        if found is None or found[1].interval is None or source is None:
            return None
        unit, _ = self.unit(metric)
        sign, most = 1 if source.rise_is_loss else -1, WHOLE.get(source.unit)
        ends = [None if loss is None else source.value + sign * loss * unit for loss in found[1].interval]
        if most is not None:
            ends = [None if end is None else min(max(end, 0.0), most) for end in ends]
        low, high = ends if source.rise_is_loss else ends[::-1]
        return low, high


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """Return all metrics but the agreement, in the order of the results."""
    named = dict.fromkeys(name for run in runs for name in run.result.metrics)
    return [name for name in named if name != SOURCE_AGREEMENT]
