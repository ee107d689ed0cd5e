"""Which samples of a result a gallery shows: those that source and engine answer differently, by kind of flip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count, zip_longest
from typing import Any

from modelport.core.errors import DataError, raised_as
from modelport.evaluate.sample_log import SAMPLES
from modelport.report.result import Result
from modelport.report.result_folder import FIX, MALFORMED, PREDICTIONS, ResultFolder

LOST, WON, OTHER, SAME = "lost", "won", "other", "unflipped"
KINDS: Mapping[str, str] = {
    LOST: "lost: the source is right, or better, and the engine is not",
    OTHER: "other: neither is better, or nothing tells",
    WON: "won: the engine is right, or better, and the source is not",
    SAME: "unflipped: engine and source answer alike, or there is no source",
}
# Samples that are shown of a result in which nothing flips: those that were thought worth a picture.
UNFLIPPED = 12


def as_written(folder: ResultFolder, name: str, number: int) -> AbstractContextManager[None]:
    """Return what makes of whatever a line of another form raises a DataError that names it."""
    place = f"{folder.path / name} line {number}: is not as modelport writes it"
    # OverflowError: an integer beyond float64.
    return raised_as(DataError, place, FIX, (*MALFORMED, OverflowError))


@dataclass(frozen=True, slots=True)
class Chosen:
    """One sample: its kind, and the line and the flip that tell of it, where there are any."""

    id: str
    kind: str
    line: Mapping[str, Any] | None  # of predictions.jsonl
    number: int  # of that line, from 1
    flip: Mapping[str, Any] | None  # of source.flips
    place: int  # in source.flips


@dataclass(slots=True)
class Choice:
    """The samples of one result, and how many there are of each kind; ``said``: what is not told."""

    chosen: list[Chosen] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)


def choose(folder: ResultFolder, result: Result, pictured: Collection[str], most: int) -> Choice:
    """Choose ``most`` samples, of each kind alike, three quarters of them from ``pictured`` where these are so many.

    Where nothing flips, the first of ``pictured``.

    Raises DataError for a line that is not as modelport writes it, and what malformed values raise for such a result.
    """
    found = Choice()
    flips = {str(flip["id"]): (place, flip) for place, flip in enumerate(result.source.flips)}
    kept = {kind: _Kept(most) for kind in (LOST, OTHER, WON)}
    numbers: dict[str, int] = {}  # of the lines of samples.jsonl, which are those of predictions.jsonl
    for name, kind, number in _kinds(folder, result, found):
        taken = name in pictured
        if kind != SAME:
            found.counts[kind] += 1
            taken = kept[kind].take(name, name in pictured)
        if taken and number:
            numbers[name] = number
    ids = _mixed(kept, most) or dict.fromkeys(list(pictured)[: min(UNFLIPPED, most)], SAME)
    lines = _lines(folder, ids, numbers, found)
    for name, kind in ids.items():
        (number, line), (place, flip) = lines.get(name, (0, None)), flips.get(name, (0, None))
        if line is not None or flip is not None:
            found.chosen.append(Chosen(name, kind, line, number, flip, place))
    if (left := len(ids) - len(found.chosen)) > 0:
        found.said.append(f"{left} samples are left out: nothing tells how they were answered")
    return found


@dataclass(slots=True)
class _Kept:
    """The first samples of a kind, those with a picture before the others."""

    most: int
    pictured: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def take(self, name: str, pictured: bool) -> bool:
        """Keep a sample where there is room; return whether there was."""
        into = self.pictured if pictured else self.others
        if len(into) < self.most:
            into.append(name)
            return True
        return False


def _mixed(kept: Mapping[str, _Kept], most: int) -> dict[str, str]:
    """Return the samples that are shown with their kind: of all with a picture a quarter less, then those without."""
    pictured = _alternating([(name, kind) for name in one.pictured] for kind, one in kept.items())
    others = _alternating([(name, kind) for name in one.others] for kind, one in kept.items())
    return dict([*pictured[: max(most - most // 4, most - len(others))], *others][:most])


def _alternating(lists: Iterator[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return the first of each list, then the second of each, and so on."""
    return [one for row in zip_longest(*lists) for one in row if one is not None]


def _kinds(folder: ResultFolder, result: Result, found: Choice) -> Iterator[tuple[str, str, int]]:
    """Yield samples with their kind and the number of their line, 0 for none.

    They are those of samples.jsonl; where that tells of none whether it flips, those of the result's own list, too.
    """
    told = False
    if folder.has(SAMPLES):
        for number, line in enumerate(folder.lines(SAMPLES), 1):
            with as_written(folder, SAMPLES, number):
                told = told or line["agrees"] is not None
                one = str(line["id"]), _kind(line) if line["agrees"] is False else SAME, number
            yield one
    if told:
        return
    for flip in result.source.flips:
        yield str(flip["id"]), _kind_of_flip(flip), 0
    if (left := result.source.flip_count - len(result.source.flips)) > 0:
        found.counts[OTHER] += left


def _kind(line: Mapping[str, Any]) -> str:
    """Return the kind of a flip by whether the answers are right; else by how well each does on the sample."""
    pairs = [(line["correct"], line["source_correct"]), *line.get("values", {}).values()]
    for engine, source in pairs:
        if engine is not None and source is not None and engine != source:
            return LOST if engine < source else WON
    return OTHER


def _kind_of_flip(flip: Mapping[str, Any]) -> str:
    target, source, engine = (flip.get(name) for name in ("target", "source", "engine"))
    if target is None or (source == target) == (engine == target):
        return OTHER
    return LOST if source == target else WON


def _lines(
    folder: ResultFolder, wanted: Collection[str], numbers: Mapping[str, int], found: Choice
) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """Return the lines of predictions.jsonl of these samples, and their numbers; ``numbers`` are those known before."""
    lines: dict[str, tuple[int, Mapping[str, Any]]] = {}
    if not wanted:
        return lines
    if not folder.has(PREDICTIONS):
        found.said.append(f"{PREDICTIONS} is missing: scores and boxes are not told")
        return lines
    # The lines of some hundred samples are megabytes where each holds a hundred boxes: others are not looked at.
    only = sorted(numbers[name] for name in wanted) if numbers.keys() >= set(wanted) else None
    for number, line in zip(only or count(1), folder.lines(PREDICTIONS, only), strict=False):
        with as_written(folder, PREDICTIONS, number):
            name = str(line["id"])
        if name in wanted:
            lines.setdefault(name, (number, line))
            if len(lines) == len(wanted):
                break
    return lines


def more_text(choice: Choice, shown: Sequence[object]) -> str:
    """Return how many samples flip beside those that are shown, and where they are; empty where none does."""
    left = choice.counts.total() - len(shown)
    return f"{left} more samples flip: {SAMPLES} tells which (agrees), {PREDICTIONS} their answers" if left > 0 else ""
