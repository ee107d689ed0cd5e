"""Pixels of each image by class: figures over resamples of images, and figures computed anew from such counts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.tasks.judged import Judged, Multiplicities, Recounted
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


def judged(line: Mapping[str, Any]) -> Judged:
    """Return how an image was answered; the engine agrees where each pixel has the source's class.

    ``surrogate`` is the image's own mIoU as a share, 1 where none of its pixels counts: it may stop a run, and no
    figure is its mean.
    """
    agrees = line["source_same"] == 1.0 if "source_same" in line else None
    if line["target"] is None:
        return Judged(None, agrees)
    theirs = _share(line["source_miou"]) if "source_miou" in line else None
    return Judged(line["target"], agrees, None, {"surrogate": (_share(line["miou"]), theirs)})


def _share(percent: float | None) -> float:
    return 1.0 if percent is None else percent / 100.0


def recount(lines: Iterable[Mapping[str, Any]]) -> Recounted:
    """Return ``miou`` and ``pixel_accuracy`` in percent, the source's where it answered each image.

    Raises KeyError, TypeError or ValueError for lines of another form.
    """
    sides: dict[str, dict[int, list[int]]] = {side: defaultdict(lambda: [0, 0, 0]) for side in ("", "source_")}
    answered = dict.fromkeys(sides, 0)
    for line in lines:
        if line["target"] is None:
            continue
        for side, totals in sides.items():
            if f"{side}pixels" in line:
                answered[side] += 1
                for kind, *counts in line[f"{side}pixels"]:
                    true, given, both = counts
                    if not 0 <= both <= min(true, given) or not true + given:
                        raise ValueError(f"{line['id']}: {counts} are no pixels of truth, of answer and of both")
                    totals[kind] = [total + count for total, count in zip(totals[kind], counts, strict=True)]
    whole = answered["source_"] == answered[""]
    return Recounted(_figures(sides[""]), _figures(sides["source_"]) if whole else {})


def _figures(totals: Mapping[int, Sequence[int]]) -> dict[str, float]:
    """Return the figures of totals by class: pixels of the truth, of the answer, of both."""
    true = sum(counts[0] for counts in totals.values())
    if not true:
        return {}
    shares = [met / (own + given - met) for own, given, met in totals.values()]
    right = sum(counts[2] for counts in totals.values())
    return {"miou": 100.0 * sum(shares) / len(shares), "pixel_accuracy": 100.0 * right / true}
