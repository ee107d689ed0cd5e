"""What a line of predictions.jsonl tells of a set of classes, and the figures computed anew from all lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import SURROGATE, Judged, Recounted
from modelport.tasks.multilabel.resampled import SetFigures
from modelport.tasks.packed import unpacked

SIDES = ("", "source_")
"""Before a line's keys: the engine's, the source's."""


def judged(line: Mapping[str, Any]) -> Judged:
    """Return how an image was answered. The margin is the smallest distance of a source's probability to the threshold.

    ``surrogate`` is the F1 of the image's own set, 1 where it and the answer are empty. Neither figure of the task is
    its mean: it may end a run early, and is no figure.
    """
    target, theirs = line["target"], line["source_classes"]
    if target is None:
        return Judged(None, line["agrees"], line["source_margin"])
    values = {SURROGATE: (_own_f1(line["classes"], target), None if theirs is None else _own_f1(theirs, target))}
    return Judged(target, line["agrees"], line["source_margin"], values)


def recount(lines: Iterable[Mapping[str, Any]]) -> Recounted:
    """Return mAP and F1 in percent, of engine and source, by their definitions; F1 is of the listed classes.

    Those of a side that lacks a line are left out, all where a line has no target; mAP also where the lines do not hold
    all scores (beyond ``packed.MOST_PACKED`` numbers). Raises KeyError, TypeError or ValueError for lines of another
    form.
    """
    whole = list(lines)
    if any(line["target"] is None for line in whole):
        return Recounted({}, {})
    targets = [line["target"] for line in whole]
    positives = _rows_by_class(targets)
    if not positives:
        return Recounted({}, {})
    answers = [[line[f"{side}classes"] for line in whole] for side in SIDES]
    scores = [_scores([line[f"{side}scores"] for line in whole], positives) for side in SIDES]
    engine, source = (_figures(*side, positives) for side in zip(answers, scores, strict=True))
    mine, theirs = scores
    if mine is None or theirs is None:
        return Recounted(engine, source)
    truth, *answered = (_matrix(sets, mine.shape[1]) for sets in (targets, *answers))
    return Recounted(engine, source, SetFigures(truth, (mine, theirs), (answered[0], answered[1])))


def _own_f1(answered: Sequence[int], target: Sequence[int]) -> float:
    sizes = len(answered) + len(target)
    return 2 * len(set(answered) & set(target)) / sizes if sizes else 1.0


def _rows_by_class(sets: Iterable[Sequence[int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for row, kinds in enumerate(sets):
        for kind in kinds:
            found.setdefault(kind, set()).add(row)
    return found


def _scores(packed: Sequence[str | None], positives: Mapping[int, set[int]]) -> Array | None:
    """Return the scores (N, C), None where one is missing. Raises ValueError where a class has none."""
    rows = [unpacked(text) for text in packed if text is not None]
    if len(rows) < len(packed):
        return None
    scores = np.stack(rows)
    if min(positives) < 0 or max(positives) >= scores.shape[1]:
        raise ValueError(f"classes {min(positives)} … {max(positives)} of {scores.shape[1]} scores")
    return scores


def _figures(
    answers: Sequence[Sequence[int] | None], scores: Array | None, positives: Mapping[int, set[int]]
) -> dict[str, float]:
    told = [kinds for kinds in answers if kinds is not None]
    if len(told) < len(answers):
        return {}
    answered = _rows_by_class(told)
    found = {"multilabel_f1": 100.0 * fmean(_f1(answered.get(kind, set()), rows) for kind, rows in positives.items())}
    if scores is not None:
        each = [_average_precision(scores[:, kind], sorted(rows)) for kind, rows in positives.items()]
        found["multilabel_mAP"] = 100.0 * fmean(each)
    return found


def _matrix(sets: Sequence[Sequence[int]], width: int) -> Array:
    """Return sets of classes as bool (N, width). Raises ValueError for a class that is none."""
    found = np.zeros((len(sets), width), bool)
    for row, kinds in enumerate(sets):
        if not all(0 <= kind < width for kind in kinds):
            raise ValueError(f"classes {kinds} of {width} scores")
        found[row, list(kinds)] = True
    return found


def _f1(answered: set[int], positives: set[int]) -> float:
    right = len(answered & positives)
    precision, recall = right / max(1, len(answered)), right / len(positives)
    return 2 * precision * recall / (precision + recall) if right else 0.0


def _average_precision(scores: Array, positives: Sequence[int]) -> float:
    """Return Σ (step in recall) · precision over the distinct scores (N,), from the highest on; NaN ranks last."""
    told = np.where(np.isnan(scores), -np.inf, scores)
    right = np.zeros(len(told), bool)
    right[positives] = True
    order = np.argsort(-told)
    last = np.append(told[order][1:] != told[order][:-1], True)  # of its score
    found, seen = np.cumsum(right[order])[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) / len(positives) * found / seen).sum())
