"""Figures counted anew from the lines of a result folder, apart from what scored them.

Whoever made the folder may have written anything into these lines: what does not fit is one error that names the line.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from modelport.core.errors import DataError
from modelport.core.text import plain
from modelport.evaluate.sample_log import SAMPLES
from modelport.tasks.base import Task
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.paired import Paired

Line = Mapping[str, Any]
Pair = tuple[float, float | None]
"""What engine and source earned of a sample, from 0 (wrong) to 1 (right); None where it is not known."""
# What a line of another form makes of a recount, whatever it holds; MemoryError for a class of a dozen digits.
MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, MemoryError, RecursionError)
# Relative: sums in another order differ by less, and whoever changes a figure changes it by more.
CLOSE = 1e-9
FIX = "take the folder from where it was made"


@dataclass(slots=True)
class Earned:
    """What was earned of one metric: how many samples of each kind."""

    counts: Counter[Pair] = field(default_factory=Counter)

    def n(self, side: int) -> int:
        """Return of how many samples it is known what the engine (0), or the source (1), earned."""
        return sum(count for pair, count in self.counts.items() if pair[side] is not None)

    def mean(self, side: int) -> float:
        """Return the mean over these, in percent. Raises ZeroDivisionError where there are none."""
        return 100.0 * sum((pair[side] or 0.0) * count for pair, count in self.counts.items()) / self.n(side)

    def paired(self) -> Paired | None:
        """Return how both answered the same samples; None where an answer is right in part, or none is paired."""
        told = {pair: count for pair, count in self.counts.items() if pair[1] is not None}
        cells = [told.pop(pair, 0) for pair in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0))]
        return None if told or not any(cells) else Paired(*cells)


@dataclass(slots=True)
class Recount:
    """What the lines say."""

    labels: bool  # whether they were looked at
    ids: list[str] = field(default_factory=list)
    met: float = 0.0  # answers that are the source's, in part or whole
    compared: int = 0  # answers of which that is known
    flips: int | None = 0  # samples whose answers are not all the source's; None where shares of pixels tell it
    earned: dict[str, Earned] = field(default_factory=dict)  # by metric that is a mean of samples
    by_class: dict[tuple[int, str], Earned] = field(default_factory=dict)  # by target as well, where that is a class
    differing: list[str] = field(default_factory=list)  # lines of samples.jsonl that are not as the predictions tell
    figures: Recounted | None = None  # as the task counts them from the predictions; None where it cannot
    judged: list[Judged] = field(default_factory=list)  # what each sample earned and weighs, in the order of the lines
    _kinds: dict[tuple[float, *tuple[tuple[str, Pair], ...]], Judged] = field(default_factory=dict)
    _contents: list[bytes] = field(default_factory=list)

    def compare(self, counts: Iterable[tuple[float, int]]) -> None:
        """Count answers by how many of them are the source's. Raises ValueError where that cannot be."""
        for met, of in counts:
            if not 0 <= met <= of:
                raise ValueError(f"{met} of {of} answers are the source's")
            self.met += met
            self.compared += of
            self.flips = None if self.flips is None or met != int(met) else self.flips + (met < of)

    def means(self, side: int) -> Mapping[str, float]:
        """Return the figures of the engine (0) or the source (1): those that the task counts, else means of samples."""
        means = {name: earned.mean(side) for name, earned in self.earned.items() if earned.n(side)}
        if self.figures is None:
            return means
        return means | dict(self.figures.source if side else self.figures.metrics)

    @property
    def fingerprint(self) -> str:
        """sha256 of the lines ``ID SHA256``, sorted."""
        return hashlib.sha256(b"".join(sorted(self._contents))).hexdigest()

    def take(self, sample: Line) -> None:
        """Count a line of samples.jsonl. Raises KeyError, TypeError or ValueError for one of another form."""
        name, digest = sample["id"], sample["sha256"]
        if not (isinstance(name, str) and isinstance(digest, str)):
            raise TypeError("id or sha256 is no text")
        self.ids.append(name)
        self._contents.append(f"{name} {digest}\n".encode())
        told = sample.get("values", {}).items()
        values = {metric: (_share(mine), None if other is None else _share(other)) for metric, (mine, other) in told}
        for metric, pair in values.items():
            self.earned.setdefault(metric, Earned()).counts[pair] += 1
            if type(sample["target"]) is int:
                self.by_class.setdefault((sample["target"], metric), Earned()).counts[pair] += 1
        one = Judged(None, values=values, weight=_weight(sample["weight"]))
        # Of a million samples hardly two differ in what they earned.
        self.judged.append(self._kinds.setdefault((one.weight, *values.items()), one))


def recount(task: Task, predictions: Iterable[Line], samples: Iterable[Line], labels: bool) -> Recount:
    """Go through the lines of both files, which belong together in pairs; ``labels``: whether they were looked at.

    Raises DataError, naming the line, where one is missing, belongs to another sample, or is not as it was written.
    """
    found = Recount(labels)
    rows = _counted(found, task, predictions, samples, labels)
    try:
        found.figures = task.recount(rows) if labels else None
        for _ in rows:
            pass
    except MALFORMED as error:
        raise malformed(f"predictions.jsonl line {len(found.ids)}", error) from error
    if len(set(found.ids)) < len(found.ids):
        twice = next(name for name, count in Counter(found.ids).items() if count > 1)
        raise DataError(f"{SAMPLES}: the sample {plain(twice, 100)} is there more than once", FIX)
    return found


def _counted(
    found: Recount, task: Task, predictions: Iterable[Line], samples: Iterable[Line], labels: bool
) -> Iterator[tuple[Line, Line]]:
    """Yield the lines in pairs, each counted before."""
    for number, (prediction, sample) in enumerate(zip_longest(predictions, samples), 1):
        if prediction is None or sample is None or prediction.get("id") != sample.get("id"):
            raise DataError(f"line {number} of predictions.jsonl and of {SAMPLES} are not of the same sample", FIX)
        try:
            found.take(sample)
        except MALFORMED as error:
            raise malformed(f"{SAMPLES} line {number}", error) from error
        found.compare(task.met(prediction, sample))
        if not task.placed:
            told = task.judged(prediction, sample["target"])
            told = told if found.labels else replace(told, target=None, values={})
            away = [key for key, value in told.to_json(task.deciding).items() if not same(sample.get(key), value)]
            found.differing += [f"{SAMPLES} line {number}: {key}" for key in away]
        yield prediction, sample


def same(recorded: Any, recomputed: Any) -> bool:
    """Whether two JSON values are the same, numbers to a billionth of their size."""
    if isinstance(recorded, list | tuple) and isinstance(recomputed, list | tuple):
        return len(recorded) == len(recomputed) and all(map(same, recorded, recomputed))
    if isinstance(recorded, Mapping) and isinstance(recomputed, Mapping):
        return recorded.keys() == recomputed.keys() and all(same(recorded[key], recomputed[key]) for key in recorded)
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (recorded, recomputed)]
    if all(numbers):
        try:
            return math.isclose(recorded, recomputed, rel_tol=CLOSE, abs_tol=CLOSE**2)
        except OverflowError:  # an integer beyond float64
            return False
    return type(recorded) is type(recomputed) and bool(recorded == recomputed)


def malformed(place: str, error: BaseException) -> DataError:
    """Return the error for something of another form than modelport writes; ``error`` is what came of reading it."""
    told = plain(f"{type(error).__name__}: {error}", 200)
    return DataError(f"{place}: is not as modelport writes it ({told})", FIX)


def _weight(value: Any) -> float:
    """Return what a sample weighs. Raises ValueError for what is no number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < math.inf:
        raise ValueError("a weight is no number above 0")
    return float(value)


def _share(value: Any) -> float:
    """Return what an answer earns. Raises ValueError for what is no number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError("a value is no number from 0 to 1")
    return float(value)
