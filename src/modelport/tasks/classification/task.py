"""One class per image: top-k accuracy, and the same best class as the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelport.core.values import Array, Tensors, TensorSpec
from modelport.recipes.schema import Recipe
from modelport.tasks.answered import Answered, Numbering
from modelport.tasks.base import Draft, Task
from modelport.tasks.classification.lines import judged, recount
from modelport.tasks.classification.per_class import ClassCounts
from modelport.tasks.classification.topk import TiedRows, TopK, best, class_scores
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer

# The share of the source's answers, in percent, below which a precision does not explain what differs. Chosen, not
# measured, well below what healthy ports keep (decision 11).
AGREEMENT_FLOORS: Mapping[str, float] = {"fp32": 97.0, "fp16": 90.0, "bf16": 85.0, "int8": 70.0}


# Classes from which on five answers tell more than one.
WORTH_TOP5 = 10


class Classification(Task):
    """The task ``classification``."""

    metrics = ("top1", "top2", "top3", "top4", "top5")
    agreement_floors = AGREEMENT_FLOORS
    one_class = True
    has_margins = True
    placeholder = 0
    sample_fitter = "modelport.stages.sample_weights.classification:fit_classifier"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the output is not as wide as dataset.classes, or no label fits them."""
        output, dataset = recipe.tensors.outputs[0], recipe.dataset
        width = output.shape[-1]
        if output.dtype.startswith("int"):
            if dataset.classes is None:
                raise ValueError(f"dataset.classes is missing: '{output.name}' is the number of one of so many classes")
            if recipe.metrics != ["top1"] or len(output.shape) > 2 or width not in (1, output.shape[0]):
                raise ValueError(
                    f"the output '{output.name}' is the number of a class, (batch,) or (batch, 1): only top1 is told"
                )
        elif isinstance(width, int) and dataset.classes is not None and width != dataset.classes:
            raise ValueError(
                f"dataset.classes is {dataset.classes}, the width of the output '{output.name}' is {width}; give both "
                "the same"
            )
        if dataset.classes is not None and dataset.label_offset >= dataset.classes:
            raise ValueError(
                f"dataset.label_offset is {dataset.label_offset}, so that no label fits {dataset.classes} classes; "
                "give a smaller one"
            )

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take a row of scores for each image, else a number for each."""
        scores = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) == 2]
        scores = [spec for spec in scores if spec.shape[1] != 1]
        numbers = [spec for spec in outputs if spec.dtype.startswith("int") and spec.shape[1:] in ((), (1,))]
        found = scores or numbers
        if not found or (alone and len(found) > 1):
            return None
        if not scores:
            return Draft(found[:1], ["top1"], f"'{found[0].name}' is the number of a class")
        width = scores[0].shape[1]
        wide = isinstance(width, int) and width >= WORTH_TOP5
        why = f"'{found[0].name}' is one row of scores an image"
        return Draft(scores[:1], ["top1", "top5"] if wide else ["top1"], why, width if isinstance(width, int) else None)

    def scorer(self, against_source: bool) -> ClassScorer:
        """Return a scorer of logits (N, C), or of numbers of classes, against labels."""
        dataset = self._recipe.dataset
        names = dataset.names or [name for _, name in self._categories]
        counts = ClassCounts(names, dataset.label_offset)
        return ClassScorer(self._output, dataset.classes or 0, dataset.label_offset, against_source, counts)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return by top-k metric of the recipe whether engine and source are right; the class as the output counts."""
        return judged(line, self._recipe.metrics)

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Count top1 … top5 from the five best classes."""
        return recount(line for line, _ in lines)

    def ties(self) -> TiedRows:
        """Return what counts equal logits across a rank."""
        return TiedRows(self._output, self._recipe.metrics, self._recipe.dataset.label_offset)

    def guide_rows(self, metrics: Mapping[str, Score]) -> list[tuple[str, str]]:
        """Return the number of classes and each figure in percent, two decimals."""
        shares = [(f"Top{name[3:]} accuracy", f"{round(score.value, 2)}%") for name, score in metrics.items()]
        return [("Number of classes", str(self._recipe.dataset.classes)), *shares]


class ClassScorer(Scorer):
    """Counts ranks; two answers agree where their best class is the same and neither holds a NaN there."""

    def __init__(
        self, output: str, classes: int, offset: int, against_source: bool, counts: ClassCounts | None = None
    ) -> None:
        self._output = output
        self._counts = counts or ClassCounts()
        self._classes = classes
        self._offset = offset
        self._metric = TopK(output)
        self._source = TopK(output) if against_source else None
        self._sourced = 0
        self._paired = [Paired(0, 0, 0, 0)] * 5
        self._targets: Counter[int] = Counter()
        self._width = 1
        self._answered, self._answered_by_source = Answered(), Answered()
        self._flips = Flips()

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each."""
        rows = replace(rows, outputs=self._scores(rows.outputs), source=rows.source and self._scores(rows.source))
        targets = [int(label) + self._offset for label in rows.targets]
        self._targets.update(targets)
        self._width = rows.outputs[self._output].shape[-1]
        answers = rows.outputs[self._output].argmax(axis=1)
        ranks, other_ranks = self._metric.update(rows.outputs, targets), [None] * len(targets)
        self._counts.take(targets, ranks, answers)
        if self._source is not None and rows.source is not None:
            others = self._source.update(rows.source, targets)
            self._counts.take_source(targets, others)
            self._answered_by_source.take(rows.ids, targets, rows.source[self._output].argmax(axis=1))
            self._sourced += len(targets)
            for k, paired in enumerate(self._paired):
                self._paired[k] = paired + Paired.of(others <= k, ranks <= k)
            other_ranks = others.tolist()
        self._answered.take(rows.ids, targets, answers)
        theirs = [None] * len(targets) if rows.source is None else rows.source[self._output]
        lines = zip(rows.ids, targets, rows.outputs[self._output], theirs, strict=True)
        told = [self._line(name, target, mine, other) for name, target, mine, other in lines]
        for line, rank, other_rank in zip(told, ranks.tolist(), other_ranks, strict=True):
            line |= {"rank": rank, "source_rank": other_rank}
        return told

    def figures(self) -> Figures:
        """Return top1 … top5, and the source's on the same rows."""
        source = None if self._source is None else self._source.compute() if self._sourced else {}
        notes, told = self._counts.notes(), {"confusions": self._counts.confusions()}
        per_class = self._counts.per_class()
        whole = 0 < self._sourced == self._targets.total()
        numbering = Numbering(self._width, self._answered, self._answered_by_source if whole else None)
        found = (self._metric.compute(), source, self._flips, notes, self._chance(), numbering)
        paired = {f"top{k + 1}": counts for k, counts in enumerate(self._paired) if counts.n}
        by_chance = self._answered.share_by_chance(self._answered_by_source) if self._sourced else None
        return Figures(*found, per_class=per_class, paired=paired, further=told, agreement_by_chance=by_chance)

    def _scores(self, outputs: Tensors) -> dict[str, Array]:
        return {self._output: class_scores(outputs[self._output], self._classes)}

    def _chance(self) -> dict[str, float]:
        """Return the better of drawing a class and of always naming the most frequent one, in percent."""
        share = max(self._targets.values(), default=0) / max(1, self._targets.total())
        return {"top1": 100.0 * max(share, 1.0 / self._width)}

    def _line(self, name: str, target: int, mine: Array, theirs: Array | None) -> dict[str, Any]:
        answer = best(mine)
        source = None if theirs is None else best(theirs)
        if source is not None:
            (first, score), (other, reference) = answer[0], source[0]
            same = first == other and score is not None and reference is not None
            self._flips.add(int(same), 1, {"id": name, "target": target, "source": other, "engine": first})
        return {"id": name, "target": target, "top5": answer, "source_top5": source}
