"""The figures of numbers, computed anew from the lines of predictions.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import Recounted
from modelport.tasks.regression.resampled import NumberFigures


def recount(lines: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Recounted:
    """Return mae, rmse and r2 of engine and source, and of each column where ``names`` tells several.

    A row with a number that JSON does not hold counts for no figure of its side; where a row has no label, or a row of
    the source is missing, there is no figure of any, or none of the source. Raises KeyError, TypeError or ValueError
    for lines of another form.
    """
    whole = list(lines)
    if not whole or not all(line["target"] for line in whole):
        return Recounted({}, {})
    sourced = all(line["source_numbers"] is not None for line in whole)
    try:
        targets = np.array([line["target"] for line in whole], np.float64)
        engine = _numbers(line["numbers"] for line in whole)
        found = Recounted(_side(engine, targets, names), {})
        if sourced:
            source = _numbers(line["source_numbers"] for line in whole)
            drops = NumberFigures(engine, source, targets, names)
            found = Recounted(found.metrics, _side(source, targets, names), drops)
    except OverflowError as error:  # a whole number that no float holds
        raise ValueError(str(error)) from error
    return found


def _numbers(rows: Iterable[Sequence[float | None]]) -> Array:
    """Return rows as the scorer keeps them, in float32; NaN where JSON holds no number."""
    with np.errstate(over="ignore"):
        return np.array(list(rows), np.float64).astype(np.float32).astype(np.float64)


def _side(answers: Array, targets: Array, names: Sequence[str]) -> dict[str, float]:
    if answers.shape != targets.shape:
        raise ValueError(f"numbers {answers.shape}, labels {targets.shape}")
    sound = [row for row, values in enumerate(answers.tolist()) if all(map(math.isfinite, values))]
    if not sound:
        return {}
    columns = [_column(*sides) for sides in zip(answers[sound].T.tolist(), targets[sound].T.tolist(), strict=True)]
    found = {
        "mae": fmean(column["mae"] for column in columns),
        "rmse": math.sqrt(fmean(column["rmse"] ** 2 for column in columns)),
    }
    if fits := [column["r2"] for column in columns if "r2" in column]:
        found["r2"] = fmean(fits)
    if len(columns) > 1 and names:
        named = zip(names, columns, strict=True)
        found |= {f"{metric}/{name}": value for name, column in named for metric, value in column.items()}
    return found


def _column(values: Sequence[float], labels: Sequence[float]) -> dict[str, float]:
    n, away = len(labels), [value - label for value, label in zip(values, labels, strict=True)]
    squares = math.fsum(one**2 for one in away)
    found = {"mae": math.fsum(map(abs, away)) / n, "rmse": math.sqrt(squares / n)}
    if min(labels) < max(labels):
        middle = math.fsum(labels) / n
        found["r2"] = 1.0 - squares / math.fsum((label - middle) ** 2 for label in labels)
    return found
