"""Which classes a report names: the worst of those with samples enough to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelport.report.result import Result

# Samples (or pixels) of a class from which on its figure stands in the report, and how much of what is worst does.
FEW_IMAGES, WORST_CLASSES, WORST_CONFUSIONS = 5, 10, 5


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst classes by ``metric``, the worst first, of ``told`` that have samples enough."""

    metric: str
    told: int
    rows: Sequence[tuple[int, Mapping[str, Any]]]  # with their places in ``per_class``
    percent: bool  # the figures' unit; else 0 to 1


def worst_classes(result: Result) -> Worst | None:
    """Return them; None where no class has samples enough. Rows are those of ``per_class`` in the result file."""
    told = [(place, row) for place, row in enumerate(result.further.get("per_class", ())) if row["n"] >= FEW_IMAGES]
    metric = next((key for _, row in told for key in row if key not in ("class", "name", "n", "source")), None)
    told = [(place, row) for place, row in told if row.get(metric) is not None]
    if metric is None or not told:
        return None
    worst = sorted(told, key=lambda one: (one[1][metric], one[1]["class"]))[:WORST_CLASSES]
    percent = metric not in result.metrics or result.metrics[metric].unit == "percent"
    return Worst(metric, len(told), worst, percent)


def confusions(result: Result) -> list[tuple[Any, Any, int]]:
    """Return what is most often taken for what, and how often: names where there are any, else labels."""
    rows = result.further.get("confusions", ())[:WORST_CONFUSIONS]
    return [
        (row.get("target_name") or row["target"], row.get("answer_name") or row["answer"], row["count"]) for row in rows
    ]
