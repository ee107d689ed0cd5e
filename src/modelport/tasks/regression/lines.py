"""The figures of numbers, computed anew from the lines of predictions.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from modelport.tasks.judged import Recounted


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
        return Recounted(_side(whole, "numbers", names), _side(whole, "source_numbers", names) if sourced else {})
    except OverflowError as error:  # a whole number that no float holds
        raise ValueError(str(error)) from error


def _side(lines: Sequence[Mapping[str, Any]], key: str, names: Sequence[str]) -> dict[str, float]:
    # The scorer keeps numbers as float32.
    rows = [(_single(line[key]), line["target"]) for line in lines if None not in line[key]]
    pairs = [list(zip(values, label, strict=True)) for values, label in rows if all(map(math.isfinite, values))]
    if not pairs:
        return {}
    columns = [_column(column) for column in zip(*pairs, strict=True)]
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


def _single(numbers: Sequence[float]) -> list[float]:
    with np.errstate(over="ignore"):
        return [float(value) for value in np.array(numbers, np.float64).astype(np.float32)]


def _column(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    n, labels = len(pairs), [label for _, label in pairs]
    squares = math.fsum((value - label) ** 2 for value, label in pairs)
    found = {"mae": math.fsum(abs(value - label) for value, label in pairs) / n, "rmse": math.sqrt(squares / n)}
    if min(labels) < max(labels):
        middle = math.fsum(labels) / n
        found["r2"] = 1.0 - squares / math.fsum((label - middle) ** 2 for label in labels)
    return found
