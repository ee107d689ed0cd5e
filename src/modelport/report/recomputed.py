"""What a result records, beside what is computed anew from the lines that lie with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelport.data.sets.selection import MARGIN
from modelport.evaluate.recount import Earned, Recount, same
from modelport.evaluate.sample_log import SAMPLES
from modelport.report.result import Result
from modelport.report.result_folder import PREDICTIONS
from modelport.tasks.scoring import SOURCE_AGREEMENT, Score

# Lines that differ: the first few of perhaps all.
SHOWN = 5
# How deep the lists and tables of a check or a row of slices go; a file of others may nest a thousand.
DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Held:
    """Something that is recorded, and what it is found to be."""

    name: str
    recorded: Any
    recomputed: Any
    why: str = ""  # it does not fit, whatever the values

    @property
    def fits(self) -> bool:
        """Whether both are the same, numbers to a billionth."""
        return not self.why and same(self.recorded, self.recomputed)

    def to_json(self) -> dict[str, Any]:
        """Return what ``verify --json`` tells."""
        told = {"name": self.name, "recorded": _cut(self.recorded), "recomputed": self.recomputed, "fits": self.fits}
        return told | ({"why": self.why} if self.why else {})


@dataclass(slots=True)
class Findings:
    """All that was held, and for what nothing could be computed, with the reason."""

    digests: list[Held] = field(default_factory=list)
    figures: list[Held] = field(default_factory=list)
    checks: list[Held] = field(default_factory=list)
    not_recomputed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether all of it fits."""
        return all(row.fits for row in (*self.digests, *self.figures, *self.checks))


def _cut(value: Any, deepest: int = DEEPEST) -> Any:
    """Return a JSON value without what is nested deeper."""
    if isinstance(value, Mapping):
        return {key: _cut(inner, deepest - 1) for key, inner in value.items()} if deepest else "…"
    if isinstance(value, list | tuple):
        return [_cut(inner, deepest - 1) for inner in value] if deepest else "…"
    return value


def by_margin(result: Result) -> bool:
    """Whether samples were drawn by the source's margins, so that figures are estimates for more than were scored.

    Raises ValueError where the rule is that of a fixed sample.
    """
    told = result.further["statistics"]
    if told["order"] == MARGIN and told["rule"] == "fixed":
        raise ValueError("statistics: no fixed sample is drawn by margin")
    return bool(told["order"] == MARGIN)


def hold_figures(result: Result, counted: Recount, found: Findings) -> None:
    """Hold the figures of a result against those that its lines give. Raises what keys of another form make."""
    n = len(counted.ids)
    found.figures += [Held("n", result.n, n), Held("dataset.n", result.dataset.get("n"), n)]
    found.figures.append(Held("dataset.fingerprint", result.dataset.get("fingerprint"), counted.fingerprint))
    found.figures += [Held(place, None, None, f"is not as {PREDICTIONS} tells") for place in counted.differing[:SHOWN]]
    _hold_agreement(result, counted, found)
    if by_margin(result):
        found.not_recomputed.append(("source.metrics", "they are of all planned samples, of which some were drawn"))
        return
    for side, (place, recorded) in enumerate((("metrics", result.metrics), ("source.metrics", result.source.metrics))):
        anew = counted.means(side)
        for name, score in recorded.items():
            if name in anew:
                found.figures.append(Held(f"{place}.{name}", score.value, anew[name]))
            elif name != SOURCE_AGREEMENT:
                found.not_recomputed.append((f"{place}.{name}", "the lines do not tell it"))
            if name in counted.earned:
                found.figures += _earned(f"{place}.{name}", score, counted.earned[name], side)
    for row in result.further.get("per_class", ()):
        found.figures += _of_class(row, counted)


def _earned(place: str, score: Score, earned: Earned, side: int) -> Iterator[Held]:
    """Hold a figure against what the samples earn: its mean, and of how many."""
    if n := earned.n(side):
        yield Held(f"{place} by {SAMPLES}", score.value, earned.mean(side))
        yield Held(f"{place}.n", score.n, n)


def _of_class(row: Mapping[str, Any], counted: Recount) -> Iterator[Held]:
    """Hold a class's figure, where it is the mean of its samples."""
    for metric in counted.earned.keys() & row.keys():
        earned, place = counted.by_class.get((row["class"], metric), Earned()), f"per_class {row['class']}"
        yield Held(f"{place}.n", row["n"], earned.n(0))
        yield Held(f"{place}.{metric}", row[metric], earned.mean(0) if earned.n(0) else None)
        yield Held(f"{place}.source", row["source"], earned.mean(1) if earned.n(1) else None)


def _hold_agreement(result: Result, counted: Recount, found: Findings) -> None:
    """Hold how many answers are the source's."""
    recorded = result.metrics.get(SOURCE_AGREEMENT)
    if counted.compared:
        share = 100.0 * counted.met / counted.compared
        found.figures.append(Held(f"metrics.{SOURCE_AGREEMENT}", None if recorded is None else recorded.value, share))
        if counted.flips is not None:
            found.figures.append(Held("source.flip_count", result.source.flip_count, counted.flips))
    elif recorded is not None:
        found.not_recomputed.append((f"metrics.{SOURCE_AGREEMENT}", "the lines do not tell it"))
