"""Pixels of each image by class: figures over resamples of images, and figures computed anew from such counts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.tasks.judged import SURROGATE, Judged, Multiplicities, Recounted
from modelport.tasks.segmentation.confusion import Confusion

Counts = NDArray[np.int64]
"""(n, 4): a class that truth or answer has, its pixels in the truth, in the answer, and in both."""


def counted(alone: Confusion) -> Counts:
    """Return the counts of one image."""
    table = alone.counts
    columns = np.stack([table.sum(axis=1), table[:, :-1].sum(axis=0), np.diagonal(table)], axis=1)
    classes = np.flatnonzero(columns.any(axis=1))
    return np.concatenate([classes[:, None], columns[classes]], axis=1)


class Pixelwise:
    """Figures of engine and source over any resample of the images that both answered; keeps counts alone."""

    def __init__(self, pairs: Sequence[tuple[Counts, Counts]], classes: int) -> None:
        """``pairs`` are the counts of engine and source of one image each."""
        self._classes = classes
        self._sides = [np.concatenate([np.zeros((0, 4), np.int64), *(pair[side] for pair in pairs)]) for side in (0, 1)]
        self._owners = [np.repeat(np.arange(len(pairs)), [len(pair[side]) for pair in pairs]) for side in (0, 1)]
        self.images = len(pairs)
        self.differ = sum(not np.array_equal(mine, theirs) for mine, theirs in pairs)
        self.work = sum(4 * len(side) for side in self._sides)

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return both sides' ``miou`` and ``pixel_accuracy`` in percent where image i counts ``weights[i]`` times.

        NaN where none of its pixels counts.
        """
        engine, source = (
            self._of(side, weights[owners]) for side, owners in zip(self._sides, self._owners, strict=True)
        )
        return engine, source

    def _of(self, side: Counts, counts: Multiplicities) -> dict[str, float]:
        true, answered, met = (np.bincount(side[:, 0], side[:, at] * counts, self._classes) for at in (1, 2, 3))
        union = true + answered - met
        if not true.any():
            return {"miou": math.nan, "pixel_accuracy": math.nan}
        miou = float((met[union > 0] / union[union > 0]).mean())
        return {"miou": 100.0 * miou, "pixel_accuracy": 100.0 * float(met.sum() / true.sum())}


def judged(line: Mapping[str, Any], alike: float) -> Judged:
    """Return how an image was answered; the engine agrees where a share of ``alike`` or more of its pixels does.

    The surrogate is the image's own mIoU as a share, and there is none where none of its pixels counts: it may stop a
    run, and no figure is its mean.
    """
    agrees = line["source_same"] >= alike if "source_same" in line else None
    if line["target"] is None or line["miou"] is None:
        return Judged(line["target"], agrees)
    theirs = line["source_miou"] / 100.0 if "source_miou" in line else None
    return Judged(line["target"], agrees, None, {SURROGATE: (line["miou"] / 100.0, theirs)})


def recount(lines: Iterable[Mapping[str, Any]], classes: int) -> Recounted:
    """Return ``miou`` and ``pixel_accuracy`` in percent, the source's where it answered each image.

    Raises KeyError, TypeError or ValueError for lines of another form.
    """
    engine: list[Counts] = []
    pairs: list[tuple[Counts, Counts]] = []
    for line in lines:
        if line["target"] is None:
            continue
        engine.append(_counts(line, "pixels", classes))
        if "source_pixels" in line:
            pairs.append((engine[-1], _counts(line, "source_pixels", classes)))
    source = [theirs for _, theirs in pairs] if len(pairs) == len(engine) else []
    return Recounted(_figures(engine), _figures(source), Pixelwise(pairs, classes) if pairs else None)


def _counts(line: Mapping[str, Any], key: str, classes: int) -> Counts:
    """Return the counts of a line. Raises ValueError where they are none."""
    rows = line[key]
    found = np.array(rows, np.int64)
    if rows == []:
        return found.reshape(0, 4)
    if found.ndim != 2 or found.shape[1] != 4 or (found != np.array(rows, np.float64)).any():
        raise ValueError(f"{key} are {found.shape}, not (n, 4) whole numbers")
    kinds, true, answered, both = found.T
    if (kinds < 0).any() or (kinds >= classes).any() or len(np.unique(kinds)) < len(kinds):
        raise ValueError(f"{key} have a class twice, or one that is not below {classes}")
    if (both < 0).any() or (both > np.minimum(true, answered)).any() or (true + answered == 0).any():
        raise ValueError(f"{key} have more pixels in both than in truth or answer, or none")
    return found


def _figures(images: Iterable[Counts]) -> dict[str, float]:
    """Return the figures of all images together."""
    totals: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for image in images:
        for kind, *counts in image.tolist():
            totals[kind] = [total + count for total, count in zip(totals[kind], counts, strict=True)]
    true, right = (sum(counts[place] for counts in totals.values()) for place in (0, 2))
    if not true:
        return {}
    shares = [met / (own + given - met) for own, given, met in totals.values()]
    return {"miou": 100.0 * sum(shares) / len(shares), "pixel_accuracy": 100.0 * right / true}
