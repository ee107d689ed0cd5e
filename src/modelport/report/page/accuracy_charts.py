"""The drawings of the accuracy section: a metric of each run beside the source's and what is published."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.core.text import plain
from modelport.report.page.charts.interval_rows import Row, interval_rows
from modelport.report.page.judged_run import WHOLE, Run, metrics_of
from modelport.report.page.parts import Chart


def charts_of(name: str, runs: Sequence[Run]) -> list[Chart]:
    """Return a drawing for each metric that is held against the source; without any, of the first metric."""
    metrics = metrics_of(runs)
    judged = [metric for metric in metrics if any(run.check_of(metric) for run in runs)] or metrics[:1]
    told = ((metric, _rows(runs, metric)) for metric in judged)
    # One figure by itself has nothing to be seen against.
    drawn = (interval_rows(f"{metric} of {name}", _axis(runs, metric), rows) for metric, rows in told if len(rows) > 1)
    return [chart for chart in drawn if chart is not None]


def _axis(runs: Sequence[Run], metric: str) -> str:
    unit = next(run.result.metrics[metric].unit for run in runs if metric in run.result.metrics)
    return f"{metric}, {plain(unit, 30)}"


def _rows(runs: Sequence[Run], metric: str) -> list[Row]:
    """Return the source's figure, each run's and what is published; what is the same of all runs stands once."""
    sources, ours, published = dict[float, Row](), list[Row](), dict[tuple[str, float], Row]()
    found = {score.value for run in runs if (score := run.result.source.metrics.get(metric)) is not None}
    for run in runs:
        result = run.result
        source = result.source.metrics.get(metric)
        if source is not None:
            name = "source model" if len(found) < 2 else f"source model, {run.label}"
            sources.setdefault(source.value, Row(name, source.value, "source", key=f"source.metrics.{metric}.value"))
        if metric not in result.metrics:
            continue
        ours.append(_drawn(run, metric))
        for place, row in enumerate(result.published):
            if (row["metric"], row["variant"], row["unit"]) == (metric, result.variant, result.metrics[metric].unit):
                name = f"{plain(row['device'], 24)}, published"
                note = plain(row["source"], 200) + ("" if row["applies"] else "; measured on other samples")
                told = Row(name, row["value"], "published", key=f"published.{place}.value", note=note)
                published.setdefault((name, row["value"]), told)
    return [*sources.values(), *ours, *published.values()]


def _drawn(run: Run, metric: str) -> Row:
    found = run.check_of(metric)
    score = run.result.metrics[metric]
    limit = found[1].want if found is not None and isinstance(found[1].want, int | float) else None
    if limit is not None and score.unit in WHOLE and not 0.0 <= limit <= WHOLE[score.unit]:
        limit = None  # any figure would pass
    return Row(run.label, score.value, "engine", run.around(metric), limit, f"metrics.{metric}.value")
