"""A result as a line of its history: its figure, what it lost against the source, and the change since the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

from modelport.core.errors import UsageError
from modelport.core.options import CONFIDENCE
from modelport.core.text import plain
from modelport.jobs.compare.comparable import measure_notes, refuse
from modelport.jobs.compare.reading import Figure, Read, is_number
from modelport.jobs.compare.rows import BETTER, WHOLES, WORSE, Common, Row, figure_row
from modelport.verdict.binomial import clopper_pearson

# Letters of a name, and of a command, that are told.
MAX_NAME, MAX_COMMAND = 120, 2000


@dataclass(frozen=True, slots=True)
class Line:
    """One result; ``change`` is that of its deciding figure since the result before it, None for the first."""

    told: Mapping[str, Any]  # of the result itself
    change: Row | None = None
    against: str = ""  # the result before it

    def to_json(self) -> dict[str, Any]:
        """Return the line as ``--json`` prints it."""
        change = None if self.change is None else _change(self.change, self.against)
        significant = self.change is not None and self.change.verdict in (WORSE, BETTER)
        return {**self.told, "change": change, "significant": significant}


def line_of(result: Read, before: Read | None) -> Line:
    """Return the line of a result, its change not yet judged."""
    metric = deciding(result)
    figure = None if metric is None else result.figures[metric]
    told = {
        "path": result.name,
        "started": instant(result.value).isoformat(timespec="seconds"),
        "verdict": plain(result.at("verdict"), MAX_NAME),
        "n": result.at("n"),
        "metric": metric,
        "value": figure and figure.value,
        "unit": figure and figure.unit,
        "interval": figure and _interval(figure, result),
        "drop": metric and _drop(result, metric),
        "samples_per_second": _number(result.at("throughput", "end_to_end", "value")),
        "version": _text(result.at("environment", "packages", "modelport"), MAX_NAME),
        "command": _text(result.at("command"), MAX_COMMAND),
    }
    if before is None or metric is None:
        return Line(told)
    return Line(told, change_of(before, result, metric), before.name)


def deciding(result: Read) -> str | None:
    """Return the first figure that decides, else the first that there is; None where there is none."""
    return next(iter((*result.deciding, *result.figures)), None)


def change_of(before: Read, this: Read, metric: str) -> Row:
    """Return the change of a figure between two results, with its evidence; of what is not comparable the reason."""
    try:
        refuse(before, this)
    except UsageError as error:
        figure = this.figures[metric]
        return Row(metric, 1, figure.unit, (None, figure.value), why=error.found)
    row = figure_row(metric, before, this, 1, Common.of(before, this))
    versions = [side.at("environment", "packages", "modelport") for side in (before, this)]
    differs = {"environment.packages.modelport": versions} if versions[0] != versions[1] else {}
    return replace(row, why="; ".join(filter(None, (row.why, *measure_notes(differs)))))


def instant(result: Mapping[str, Any]) -> datetime:
    """Return when a result was started; a time without a zone is one of UTC, as modelport writes it.

    Raises KeyError, TypeError, ValueError or OverflowError for what is no time.
    """
    told = datetime.fromisoformat(result["started"])
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)


def _change(row: Row, against: str) -> dict[str, Any]:
    told = row.to_json()
    keys = ("values", "change", "unit", "interval", "verdict", "why", "n", "p")
    return {key: told[key] for key in keys} | {"against": against, "paired": row.is_paired}


def _interval(figure: Figure, result: Read) -> list[float] | None:
    """Return the bounds of a figure, each one-sided: exact of a share, else by its standard error.

    None where there is none, and where the run stopped when it was certain: such bounds hold at a planned end alone.
    """
    if figure.stderr is None or result.at("statistics", "rule") == "sequential":
        return None
    if figure.hits is not None:
        share = clopper_pearson(figure.hits, figure.n, 2.0 * (1.0 - CONFIDENCE))
        return [100.0 * end for end in share]
    wide = NormalDist().inv_cdf(CONFIDENCE) * figure.stderr
    whole = WHOLES.get(figure.unit, float("inf"))
    return [figure.value - wide, min(figure.value + wide, max(whole, figure.value))]


def _drop(result: Read, metric: str) -> dict[str, Any] | None:
    """Return what is lost against the source, in the unit of what is tolerated; None where there is no source."""
    source, figure = _number(result.at("source", "metrics", metric, "value")), result.figures[metric]
    if source is None:
        return None
    told = result.at("statistics", "tolerance")
    unit = told.get("unit") if isinstance(told, Mapping) else None
    lost = (figure.value - source) if figure.rise_is_loss else (source - figure.value)
    if unit == "percent_of_reference":
        value = _number(100.0 * lost / abs(source)) if source else None
    else:
        value, unit = lost * 100.0 / WHOLES.get(figure.unit, 100.0), "points"
    tolerated = _number(told.get("value")) if isinstance(told, Mapping) else None
    return {"value": value, "interval": _of_check(result, metric), "unit": unit, "tolerance": tolerated}


def _of_check(result: Read, metric: str) -> list[float | None] | None:
    """Return the interval that the result's own check tells; None where it tells none."""
    for check in result.value["checks"]:
        if isinstance(check, Mapping) and check.get("name") == f"{metric}_vs_source":
            ends = check.get("interval")
            if isinstance(ends, list) and len(ends) == 2:
                return [_number(end) for end in ends]
    return None


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _text(value: Any, limit: int) -> str | None:
    return None if value is None else plain(value, limit)
