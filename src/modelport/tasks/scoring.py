"""What tasks score with: rows, scorers, figures and ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Protocol

import numpy as np

from modelport.core.values import Array, RowId, Tensors
from modelport.tasks.answered import Numbering
from modelport.tasks.judged import Resampled
from modelport.tasks.paired import Paired

SOURCE_AGREEMENT = "source_agreement"
"""The metric of all tasks: the share of answers that are the source's, in percent."""


@dataclass(frozen=True, slots=True)
class Score:
    """One figure with what is needed to judge it. ``value`` and ``stderr`` are in ``unit``."""

    value: float
    unit: str
    n: int
    stderr: float | None
    rise_is_loss: bool = False  # a distance: the lower the better
    scale: float | None = None  # what a tolerance in percent is a share of; None: the reference's own value
    scale_is: str = "the largest output"  # what ``scale`` is, for people

    def to_json(self) -> dict[str, Any]:
        """Return the score as the result file holds it."""
        told = {"value": self.value, "unit": self.unit, "n": self.n, "stderr": self.stderr}
        told |= {"rise_is_loss": True} if self.rise_is_loss else {}
        return told | ({} if self.scale is None else {"scale": self.scale, "scale_is": self.scale_is})


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a data set with the engine's answers and, where there are any, the source model's.

    ``outputs`` and ``source`` hold the same rows; ``source`` is None where there is no source model or where one of
    its answers is missing.
    """

    ids: Sequence[RowId]
    targets: Sequence[Any]
    outputs: Tensors
    source: Tensors | None
    placements: Sequence[Any] = ()
    digests: Sequence[str] = ()  # sha256 of each row's sample
    facts: Sequence[Mapping[str, Any]] = ()  # what is known of each row's sample beside; JSON values

    def where(self, kept: Sequence[bool]) -> Rows:
        """Return those of the rows for which ``kept`` is true."""
        mask = np.array(kept, bool)

        def of(side: Tensors) -> dict[str, Array]:
            return {name: array[mask] for name, array in side.items()}

        return Rows(
            ids=tuple(compress(self.ids, kept)),
            targets=tuple(compress(self.targets, kept)),
            outputs=of(self.outputs),
            source=None if self.source is None else of(self.source),
            placements=tuple(compress(self.placements, kept)),
            digests=tuple(compress(self.digests, kept)),
            facts=tuple(compress(self.facts, kept)),
        )


class Flips:
    """Counts answers that are not the source's, and keeps the first of them: ``met`` of ``of`` are the same."""

    LISTED = 100

    def __init__(self) -> None:
        self.first: list[dict[str, Any]] = []
        self.count = self.of = 0
        self.met: float = 0

    def add(self, met: float, of: int, flip: Mapping[str, Any]) -> None:
        """Count one sample: ``met`` of ``of`` answers are the source's; ``flip`` tells it where they are not all.

        ``met`` is a whole number where answers are the source's or not; of one that can be so in part, that share.
        """
        self.met += met
        self.of += of
        if met < of:
            self.count += 1
            if len(self.first) < self.LISTED:
                self.first.append(dict(flip))


@dataclass(slots=True)
class Figures:
    """What a scorer has found out."""

    metrics: dict[str, Score]
    source: dict[str, Score] | None
    flips: Flips = field(default_factory=Flips)
    notes: list[str] = field(default_factory=list)
    chance: dict[str, float] = field(default_factory=dict)  # what guessing gives, in the figure's unit
    numbering: Numbering | None = None  # which class was answered to which label, where labels are single classes
    per_class: list[dict[str, Any]] = field(default_factory=list)
    """A figure by class: {"class": int, "name": str, "n": int, METRIC: value, "source": value or None}."""
    paired: dict[str, Paired] = field(default_factory=dict)
    """Of figures that are shares of right answers: how source and engine answered the same samples."""
    resampled: Resampled | None = None
    """The other figures over any resample of the images; None where there is no source, or none of them is such."""
    further: dict[str, Any] = field(default_factory=dict)
    """JSON values that the result takes as keys of its own."""
    agreement_by_chance: float | None = None
    """The share of equal answers, 0 to 1, had both answered by themselves, each class as often as now; None: untold."""


class Scorer(Protocol):
    """Takes all rows in order and keeps no more than it must."""

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows; return the lines of predictions.jsonl that are complete by now."""

    def finish(self) -> list[dict[str, Any]]:
        """Return the lines that were held back; none where ``take`` returns all."""
        return []

    def figures(self) -> Figures:
        """Return what was found out; raises DataError where nothing was scored."""


class Unlabelled(Scorer):
    """A scorer whose rows have no labels: what they would decide is left out, the agreement with the source stays.

    ``placeholder`` is given in each label's place.
    """

    def __init__(self, inner: Scorer, placeholder: Any) -> None:
        self._inner, self._placeholder = inner, placeholder

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows, whatever their targets; return the lines, without target."""
        blind = replace(rows, targets=(self._placeholder,) * len(rows.ids))
        return [line | {"target": None} for line in self._inner.take(blind)]

    def finish(self) -> list[dict[str, Any]]:
        """Return the lines that were held back."""
        return [line | {"target": None} for line in self._inner.finish()]

    def figures(self) -> Figures:
        """Return the agreement and the flips."""
        found = self._inner.figures()
        for flip in found.flips.first:
            flip["target"] = None
        source: dict[str, Score] | None = None if found.source is None else {}
        by_chance = found.agreement_by_chance
        return Figures({}, source, found.flips, found.notes, agreement_by_chance=by_chance)


# Points of a figure that tied rows may move before it is no figure; a tenth of the recipes' tolerance.
TOLERATED_POINTS = 0.1


class Ties:
    """Counts, for each of ``metrics``, the rows that are right or wrong by how a tie is counted; this one finds none.

    Where outputs were rounded, their digits are too few to tell. ``n`` counts the rows that were looked at.
    """

    count_as_right: bool = False
    """Whether a tie counts for the answer: then it lowers no figure."""

    def __init__(self, metrics: Sequence[str] = ()) -> None:
        self.counts = dict.fromkeys(metrics, 0)
        self.n = 0

    def take(self, outputs: dict[str, Array], targets: Sequence[Any]) -> None:
        """Look at the next rows, in order."""

    def affected(self, metrics: Sequence[str]) -> dict[str, int]:
        """Return the counts, above zero, of these metrics."""
        return {name: self.counts[name] for name in metrics if self.counts.get(name)}

    def points(self, metrics: Sequence[str]) -> dict[str, float]:
        """Return by how many points of percent ties could move these metrics, where they could."""
        return {name: 100.0 * count / self.n for name, count in self.affected(metrics).items()}

    def too_many(self, metrics: Sequence[str]) -> bool:
        """Whether ties could move one of these metrics by more than 0.1 points."""
        return any(points > TOLERATED_POINTS for points in self.points(metrics).values())
