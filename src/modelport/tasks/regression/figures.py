"""Mean absolute error, root mean square error and R² of numbers, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.scoring import Score

METRICS = ("mae", "rmse", "r2")
OF_OUTPUT = "of the output"


def scores(answers: Array, targets: Array, names: Sequence[str]) -> dict[str, Score]:
    """Return the figures of answers (N, D) to targets (N, D), both finite, N at least 1; and each column's own.

    mae: mean of |a - t|. rmse: root of the mean of (a - t)². Both are over all numbers, in the numbers' unit.
    r2: 1 - Σ(a - t)² / Σ(t - mean of t)², the mean over the columns, as torchmetrics' "uniform_average"; a column whose
    targets are all the same has none and is left out. Of several columns each has ``METRIC/NAME``.
    """
    away = answers - targets
    columns = [_column(away[:, place], targets[:, place]) for place in range(targets.shape[1])]
    found = _whole(away, targets)
    fits = [column["r2"].value for column in columns if "r2" in column]
    if fits:
        found["r2"] = _fit(float(np.mean(fits)), len(targets))
    if len(columns) > 1:
        named = zip(names, columns, strict=True)
        found |= {f"{metric}/{name}": score for name, column in named for metric, score in column.items()}
    return found


def near(answers: Array, source: Array, share: float) -> NDArray[np.bool_]:
    """Return which rows (N,) have every number within ``share`` of its standard deviation over the source's rows.

    A row that holds NaN or infinity has not.
    """
    whole = np.isfinite(source).all(axis=1)
    spread = source[whole].std(axis=0) if whole.any() else np.zeros(source.shape[1])
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(answers - source) <= share * spread).all(axis=1) & whole)


def _column(away: Array, targets: Array) -> dict[str, Score]:
    found = _whole(away, targets)
    total = float(np.square(targets - targets.mean()).sum())
    if np.ptp(targets) > 0:
        found["r2"] = _fit(1.0 - float(np.square(away).sum()) / total, len(targets))
    return found


def _whole(away: Array, targets: Array) -> dict[str, Score]:
    """Return mae and rmse; a tolerance in percent is one of the error of whoever always answers the mean."""
    n, middle = len(targets), targets.mean(axis=0)
    sizes, spread = np.abs(away), np.abs(targets - middle)
    # Of several numbers a row counts once: they hang on one image.
    each = sizes if sizes.ndim == 1 else sizes.mean(axis=1)
    stderr = float(each.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return {
        "mae": _error(float(sizes.mean()), n, stderr, float(spread.mean())),
        "rmse": _error(_root_mean_square(away), n, None, _root_mean_square(spread)),
    }


def _error(value: float, n: int, stderr: float | None, scale: float) -> Score:
    whose = "the error of always answering the labels' mean"
    return Score(value, OF_OUTPUT, n, stderr, rise_is_loss=True, scale=scale, scale_is=whose)


def _fit(value: float, n: int) -> Score:
    return Score(value, "fraction", n, None, scale=1.0, scale_is="1, a perfect fit")


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))
