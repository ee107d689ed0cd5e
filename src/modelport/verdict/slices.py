"""Who suffers: classes, sizes, brightness and columns of the label file where the engine loses more than elsewhere.

A slice is told where two things hold, each by an exact test. Of the samples in it that one model alone answers rightly,
more are the source's than would be were nothing lost (sign test). And more of all samples that are lost lie in it than
would were they lost anywhere alike (hypergeometric). Each is held at half of 5 % for all slices together, so that a
port that loses nothing, or everywhere alike, tells of none in 95 % of runs.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelport.core.text import plain
from modelport.recipes.tables import Tolerance
from modelport.tasks.paired import Paired
from modelport.verdict.binomial import at_least

# How likely anything at all may be told of a port that loses nothing.
ERROR = 0.05
# Values of a column up to which each is a slice; of more, if they are numbers, the quarters are.
MOST_VALUES = 50
QUARTERS = 4
# Slices that a result lists, and that a note names: those of the largest loss.
LISTED, NAMED = 20, 3
CLASS, SIZE, BRIGHTNESS = "class", "image size", "brightness"


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the samples, and how they were answered."""

    kind: str  # class, image size, brightness, or "column NAME"
    value: Any  # the class, the column's value, or the ends of a quarter as text
    answered: Paired
    p: float = 1.0  # how likely flips as lopsided are, were nothing lost

    @property
    def loss(self) -> float:
        """The observed loss in points."""
        return self.answered.loss("points")

    @property
    def figures(self) -> tuple[float, float]:
        """The source's figure and the engine's, in percent."""
        seen = self.answered
        return 100.0 * (seen.both + seen.only_source) / seen.n, 100.0 * (seen.both + seen.only_engine) / seen.n


@dataclass(frozen=True, slots=True)
class Suffering:
    """The slices where more is lost than elsewhere, the largest loss first, of so many that were looked at."""

    found: tuple[Slice, ...] = ()
    looked_at: int = 0

    def to_json(self, names: Mapping[Any, str]) -> dict[str, Any]:
        """Return the result's keys: figures in percent, losses in points; ``names`` are the classes' by label."""
        rows = []
        for one in self.found[:LISTED]:
            source, engine = one.figures
            name = {"name": names[one.value]} if one.kind == CLASS and names.get(one.value) else {}
            told = {"n": one.answered.n, "source": source, "engine": engine, "loss": one.loss, "p": one.p}
            rows.append({"slice": one.kind, "value": one.value, **name, **told, "of_looked_at": self.looked_at})
        return {"slices": rows, "slices_looked_at": self.looked_at}

    def notes(self, metric: str, names: Mapping[Any, str]) -> list[str]:
        """Return what is to be said; nothing where nothing holds."""
        if not self.found:
            return []
        told = []
        for one in self.found[:NAMED]:
            source, engine = one.figures
            name = f" ({plain(names[one.value], 40)})" if one.kind == CLASS and names.get(one.value) else ""
            told.append(f"{one.kind} {one.value}{name}: {engine:.4g}, source {source:.4g}, n {one.answered.n}")
        more = f" and {len(self.found) - NAMED} more" if len(self.found) > NAMED else ""
        return [
            f"{metric} suffers most in {'; '.join(told)}{more}; this holds at {1 - ERROR:.0%} for all "
            f"{self.looked_at} classes and slices that were looked at"
        ]


def suffering(lines: Iterable[Mapping[str, Any]], tolerance: Tolerance) -> Suffering:
    """Return where more is lost than is tolerated of all samples, and than that above the loss of all others.

    ``lines`` are those of samples.jsonl. Nothing is found where answers are neither right nor wrong, and where samples
    were drawn with different weights, so that their shares are not the data set's. Raises KeyError or TypeError for
    lines of another form.
    """
    slices, whole = _slices(lines)
    tolerated = tolerance.value
    if tolerance.unit == "percent_of_reference" and whole.n:
        tolerated *= (whole.both + whole.only_source) / whole.n
    found = []
    for one in _lopsided(slices):
        rest = whole - one.answered
        concentrated = _hypergeometric_tail(one.answered.only_source, whole.only_source, one.answered.n, whole.n)
        if concentrated > ERROR / 2 / len(slices) or min(one.loss, one.loss - rest.loss("points")) <= tolerated:
            continue
        found.append(replace(one, p=max(one.p, concentrated)))
    return Suffering(tuple(sorted(found, key=lambda one: -one.loss)), len(slices))


def _slices(lines: Iterable[Mapping[str, Any]]) -> tuple[list[Slice], Paired]:
    """Return every slice that is a part of the samples, and the counts of all of them."""
    kinds: dict[str, _Values] = {}
    whole, weights = [0, 0, 0, 0], set[float]()
    for line in lines:
        mine, theirs = line["correct"], line["source_correct"]
        if mine is None or theirs is None:
            continue
        weights.add(line["weight"])
        # In the order of Paired: both, only_source, only_engine, neither.
        cell = (not mine) + 2 * (not theirs)
        whole[cell] += 1
        for kind, value in _values_of(line):
            if kind not in kinds:
                kinds[kind] = _Values(kind)
            kinds[kind].add(value, cell)
    counts = Paired(*whole)
    if len(weights) != 1:
        return [], counts
    parts = (Slice(kind, value, part) for kind, values in kinds.items() for value, part in values.parts())
    return [part for part in parts if part.answered.n < counts.n], counts


def _values_of(line: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the kinds of slices that a sample lies in, and its value in each."""
    # Of sets of classes, texts and numbers hardly two are the same.
    if type(line["target"]) is int:
        yield CLASS, line["target"]
    facts = line.get("facts") or {}
    width, height = facts.get("width"), facts.get("height")
    if isinstance(width, int) and isinstance(height, int):
        yield SIZE, width * height
    if "brightness" in facts:
        yield BRIGHTNESS, facts["brightness"]
    for name, value in facts.get("columns", {}).items():
        yield f"column {name}", value


class _Values:
    """Counts answers by value of one kind; of many values that are no numbers nothing is kept."""

    def __init__(self, kind: str) -> None:
        self._classes, self._ordered = kind == CLASS, kind in (SIZE, BRIGHTNESS)
        self._counts: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self._left_out = False

    def add(self, value: Any, cell: int) -> None:
        """Count an answer."""
        if self._left_out:
            return
        self._counts[value][cell] += 1
        if len(self._counts) > MOST_VALUES and not self._classes and _number(value) is None:
            self._left_out = True
            self._counts.clear()

    def parts(self) -> Iterator[tuple[Any, Paired]]:
        """Yield each value, or each quarter of the samples by value, with its counts."""
        if self._classes or (not self._ordered and len(self._counts) <= MOST_VALUES):
            yield from ((value, Paired(*counts)) for value, counts in self._counts.items())
            return
        numbers = {value: _number(value) for value in self._counts}
        known = [(number, self._counts[value]) for value, number in numbers.items() if number is not None]
        if len(known) == len(numbers):
            yield from _quarters(sorted(known))


def _quarters(counted: Sequence[tuple[float, list[int]]]) -> Iterator[tuple[str, Paired]]:
    """Yield the ends of each quarter of the samples, and its counts; ``counted`` are those of each value, in order."""
    whole, before = sum(sum(counts) for _, counts in counted), 0
    quarters: dict[int, list[tuple[float, list[int]]]] = {}
    for number, counts in counted:
        n = sum(counts)
        # Equal values lie in one quarter, that of their middle.
        quarters.setdefault(int(QUARTERS * (before + n / 2) / whole), []).append((number, counts))
        before += n
    for part in quarters.values():
        cells = zip(*(counts for _, counts in part), strict=True)
        yield f"{part[0][0]:.6g} to {part[-1][0]:.6g}", Paired(*map(sum, cells))


def _number(value: Any) -> float | None:
    """Return a finite number, which a text may be; None for anything else."""
    # Python reads 1_000 as a number and True as one; no table means that.
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _lopsided(slices: Sequence[Slice]) -> list[Slice]:
    """Return the slices whose flips are lost more often than won, at half of ERROR for all of them together.

    Slices with too few flips to be told, were they all lost, are not counted (Tarone, Biometrics 46 (1990) 515): which
    these are hangs on where answers differ, not on who is right.
    """
    flips = [one.answered.flipped for one in slices]
    counts = range(1, len(slices) + 1)
    # The more are counted, the fewer can be told: the first number that these do not exceed.
    place = bisect_left(counts, True, key=lambda count: sum(0.5**n <= ERROR / 2 / count for n in flips) <= count)
    level = ERROR / 2 / (place + 1)
    held = []
    for one in slices:
        if 0.5**one.answered.flipped <= level:
            p = at_least(one.answered.only_source, one.answered.flipped, 0.5)
            held += [replace(one, p=p)] if p <= level else []
    return held


def _hypergeometric_tail(hits: int, marked: int, drawn: int, n: int) -> float:
    """Return the chance that of ``n``, ``marked`` of them, so many that are drawn hold ``hits`` marked ones or more."""

    def log_ways(of: int, taken: int) -> float:
        return math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1)

    counts = range(max(hits, drawn - (n - marked)), min(marked, drawn) + 1)
    terms = (log_ways(marked, k) + log_ways(n - marked, drawn - k) - log_ways(n, drawn) for k in counts)
    return min(1.0, sum(map(math.exp, terms)))
