"""What the answers under one change earn, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array, RowId
from modelport.diagnose.asking import Answers
from modelport.diagnose.changes.table import Changed
from modelport.diagnose.probe.information import confidences, information
from modelport.tasks.base import Task
from modelport.tasks.classification.topk import class_scores, percent, target_ranks
from modelport.tasks.judged import SURROGATE, Floats, Recounted
from modelport.tasks.scoring import SOURCE_AGREEMENT, Score, Scorer

By = Literal["labels", "agreement", "confidence"]
"""What answers are held against: labels, the source's answers, or nothing."""


@dataclass(frozen=True, slots=True)
class Earned:
    """What each sample earns, up to 1 in each array, and 0 where nothing is right."""

    evidence: Floats
    """(N,): what shows most of a difference: information about the label, or a figure of the image alone."""
    of: str  # what ``evidence`` is called; empty where no sample tells anything by itself
    values: Floats | None  # (N,) of the deciding metric, where it is a mean of samples
    metric: Score | None  # the deciding metric; None where nothing tells it
    log_loss: float | None = None  # mean, nats


class Tally(Protocol):
    """Takes answers in the samples' order."""

    changed: Changed
    n: int
    failed: str
    """Why it was given up; empty where it was not."""
    same: bool
    """Whether it prepares all samples so far as the recipe does, though by other steps: nothing can come of it."""

    def take(self, answers: Answers, source: Answers | None) -> None:
        """Take answers to the next samples, and the source's to the same."""

    def earned(self, first: int | None = None) -> Earned:
        """Return what was earned so far, or of the first so many samples; figures that are no means are left out."""

    def figure(self) -> Score | None:
        """Return the deciding figure of all samples so far, which may take long; None where nothing tells it."""


def applied(changed: Changed, answers: Answers) -> Answers:
    """Return answers as a change of outputs, labels or places makes them."""
    change = changed.change
    outputs, targets, placements = answers.outputs, answers.targets, answers.placements
    if change.outputs is not None:
        outputs = change.outputs(outputs)
    if change.target is not None:
        targets = [change.target(target) for target in targets]
    if change.placement is not None:
        placements = [place and change.placement(place) for place in placements]
    return replace(answers, outputs=outputs, targets=targets, placements=placements)


class ClassTally:
    """Of a classifier: keeps all scores, from which log-loss is told."""

    def __init__(self, changed: Changed, metric: str, by: By) -> None:
        self.changed, self._metric, self._by = changed, metric, by
        self._output = changed.recipe.tensors.outputs[0].name
        self.n, self.failed, self.same = 0, "", False
        self.ids: list[RowId] = []
        self.targets: list[int] = []  # classes as the output counts them; −1 where there is none
        self._scores: list[Array] = []
        self._earned: dict[int, Earned] = {}

    def take(self, answers: Answers, source: Answers | None) -> None:
        """Take answers; the source's best class stands in for the label where agreement counts."""
        answers, dataset = applied(self.changed, answers), self.changed.recipe.dataset
        self._scores.append(class_scores(answers.outputs[self._output], dataset.classes or 0))
        if self._by == "labels":
            known = [-1 if target is None else int(target) for target in answers.targets]
            self.targets += [label + dataset.label_offset if label >= 0 else -1 for label in known]
        elif self._by == "agreement" and source is not None:
            self.targets += class_scores(source.outputs[self._output], dataset.classes or 0).argmax(axis=1).tolist()
        else:
            self.targets += [-1] * len(answers.ids)
        self.ids += answers.ids
        self.n += len(answers.ids)

    @property
    def scores(self) -> Array:
        """Scores (N, C) of all samples so far."""
        return np.concatenate(self._scores)

    def earned(self, first: int | None = None) -> Earned:
        """Return what was earned so far, or of the first so many samples, to which the temperature is fitted."""
        count = self.n if first is None else min(first, self.n)
        if count not in self._earned:
            self._earned[count] = self.under(np.array(self.targets, np.int64), np.arange(count))
        return self._earned[count]

    def figure(self) -> Score | None:
        """Return the deciding figure of all samples so far."""
        return self.earned().metric

    def under(self, targets: NDArray[np.int64], rows: NDArray[np.intp]) -> Earned:
        """Return what the samples of ``rows`` earn, were these the targets (N,) of all."""
        scores, targets = self.scores[rows], targets[rows]
        if self._by == "confidence":
            return Earned(confidences(scores), "confidence", None, None)
        sound = (targets >= 0) & (targets < scores.shape[1])
        ranks = target_ranks(scores, np.where(sound, targets, 0))
        name, places = (self._metric, int(self._metric[3:])) if self._by == "labels" else (SOURCE_AGREEMENT, 1)
        right = ((ranks < places) & sound).astype(np.float64)
        metric = percent(float(right.sum()), len(right))
        if self.changed.recipe.tensors.outputs[0].dtype.startswith("int"):
            return Earned(right, name, right, metric)
        told = information(scores, targets)
        return Earned(told.shares, "information", right, metric, float(told.losses.mean()) if len(right) else None)


class LineTally:
    """Of any task that tells how well one sample was answered: keeps what its scorer and lines say."""

    def __init__(self, changed: Changed, task: Task, by: By) -> None:
        self.changed, self._task, self._by = changed, task, by
        self._scorer: Scorer = task.scorer(False) if by == "labels" else task.unlabelled_scorer(True)
        self.n, self.failed, self.same = 0, "", False
        self._places: dict[str, int] = {}
        self._targets: dict[str, Any] = {}
        self.lines: list[Mapping[str, Any]] = []
        self._read = 0  # lines whose values are among these, by the sample's place
        self._values: dict[int, float] = {}
        self._of = ""

    def take(self, answers: Answers, source: Answers | None) -> None:
        """Score answers; samples without a target earn nothing."""
        answers = applied(self.changed, answers)
        for name, target in zip(answers.ids, answers.targets, strict=True):
            self._places.setdefault(name.sample, len(self._places))
            self._targets[name.sample] = target
        self.n = len(self._places)
        rows = answers.rows(source if self._by == "agreement" else None)
        if self.changed.change.target is not None:
            rows = rows.where([target is not None for target in answers.targets])
        if len(rows.ids):
            self.lines += self._scorer.take(rows)

    def earned(self, first: int | None = None) -> Earned:
        """Return what was earned so far; a sample of which nothing is told earns nothing.

        Of the ``first`` so many only figures that are means of samples are told: see ``figure``.
        """
        name = SOURCE_AGREEMENT if self._by == "agreement" else self._task.deciding
        for line in self.lines[self._read :]:
            if (told := self._told(line, name)) is not None:
                self._values[self._places[str(line["id"])]], self._of = told
        self._read = len(self.lines)
        count = self.n if first is None else min(first, self.n)
        values = np.array([self._values.get(place, 0.0) for place in range(count)])
        if self._of != name:
            return Earned(values, self._of, None, None)
        return Earned(values, name, values, Score(100.0 * float(values.mean()), "percent", count, None))

    def figure(self) -> Score | None:
        """Return the deciding figure of all samples so far; None where it cannot be told yet."""
        if self._by == "agreement" or not self._of:
            return self.earned().metric
        return self._scorer.figures().metrics.get(self._task.deciding)

    @property
    def deciding(self) -> str:
        """The metric that decides."""
        return self._task.deciding

    def recounted(self, base: LineTally) -> Recounted | None:
        """Return the figures computed anew, the baseline's in the source's place; None where that cannot be done."""
        return self._task.recount(self._beside(base))

    def _beside(self, base: LineTally) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield lines with the baseline's answers to the same samples in the source's place."""
        theirs = {line["id"]: line for line in base.lines}
        for line in self.lines:
            if (other := theirs.get(line["id"])) is None:
                continue
            own = {key: value for key, value in other.items() if not key.startswith("source_")}
            both = {**line, **{f"source_{key}": value for key, value in own.items()}}
            yield both, self._task.judged(line, self._targets[str(line["id"])]).to_json(self._task.deciding)

    def _told(self, line: Mapping[str, Any], name: str) -> tuple[float, str] | None:
        judged = self._task.judged(line, self._targets[str(line["id"])])
        if self._by == "agreement":
            pairs = self._task.met(line, {"agrees": judged.agrees})
            of = sum(count for _, count in pairs)
            return (sum(met for met, _ in pairs) / of, name) if of else None
        if name in judged.values:
            return judged.values[name][0], name
        return (judged.values[SURROGATE][0], f"{name} of the image alone") if SURROGATE in judged.values else None
