"""A vector per image: verification, retrieval, and vectors in the source's direction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.values import TensorSpec
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Draft, Task
from modelport.tasks.embeddings.asked import ENOUGH_IDENTITIES, Asked
from modelport.tasks.embeddings.lines import judged, recount
from modelport.tasks.embeddings.pairs import directions
from modelport.tasks.embeddings.resampled import VectorFigures
from modelport.tasks.embeddings.retrieval import chance
from modelport.tasks.embeddings.side import Side
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.kept import Kept
from modelport.tasks.packed import Packer
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer

# A row's vector is the source's where the cosine of the two is at least this. Chosen, not measured: another model's
# has a cosine near 0, rounding to int8 leaves about 0.99.
NEAR = 0.98


class Embeddings(Task):
    """The task ``embeddings``: one output (N, D), brought to length 1 here, and the identity of each image."""

    metrics = ("verification_accuracy", "tar_at_far_1e-3", "rank1", "retrieval_mAP")
    label_form = "identity"
    placeholder = 0
    sample_fitter = "modelport.stages.sample_weights.embeddings:fit_identities"

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._seed = seed

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the output is no row of floats, or classes are told, of which there are none."""
        output = recipe.tensors.outputs[0]
        if len(output.shape) != 2 or not output.dtype.startswith("float") or output.shape[1] == 1:
            raise ValueError(
                f"the output '{output.name}' is {output.dtype} {output.shape}, a vector for each image is float "
                "['batch', 2 or more]"
            )
        dataset = recipe.dataset
        if dataset.classes is not None or dataset.names is not None or dataset.label_offset:
            raise ValueError("dataset.classes, names and label_offset have no meaning for identities; take them out")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take a row of numbers for each image; by themselves such outputs are a classifier's."""
        found = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) == 2]
        found = [spec for spec in found if spec.shape[1] != 1]
        return None if alone or not found else Draft(found[:1], list(cls.metrics), f"'{found[0].name}' is a vector")

    def scorer(self, against_source: bool) -> VectorScorer:
        """Return a scorer of vectors (N, D) against identities."""
        return VectorScorer(self._output, self._seed, against_source)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return the identity: what else the figures need is told by all images together."""
        return judged(line)

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Return the figures of the vectors in the lines; pairs and queries that are drawn hang on the seed."""
        return recount((line for line, _ in lines), self._seed)


class VectorScorer(Scorer):
    """Keeps the vectors of all rows, at most ``tasks.kept.MOST_VALUES``: every pair of images counts.

    Two answers agree where the cosine of the two vectors is at least NEAR.
    """

    def __init__(self, output: str, seed: int, against_source: bool) -> None:
        self._output, self._seed = output, seed
        self._mine, self._theirs = Kept(), Kept() if against_source else None
        self._packed = Packer(), Packer()
        self._labels: list[int] = []
        self._flips = Flips()

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each: the cosine with the source's vector."""
        labels = [int(label) for label in rows.targets]
        self._labels += labels
        self._mine.take(rows.outputs[self._output])
        cosines: list[float | None] = [None] * len(labels)
        theirs: list[str | None] = [None] * len(labels)
        if self._theirs is not None and rows.source is not None:
            self._theirs.take(rows.source[self._output])
            units = (directions(side[self._output]) for side in (rows.outputs, rows.source))
            cosines = np.einsum("nd,nd->n", *units).tolist()
            theirs = self._packed[1].pack(rows.source[self._output])
        mine, lines = self._packed[0].pack(rows.outputs[self._output]), []
        for name, label, cosine, own, other in zip(rows.ids, labels, cosines, mine, theirs, strict=True):
            near, agrees = (None, None) if cosine is None else (_finite(cosine), cosine >= NEAR)
            if agrees is not None:
                flip = {"id": str(name), "target": label, "source": 1.0, "engine": near}
                self._flips.add(int(agrees), 1, flip)
            line = {"id": str(name), "target": label, "source_cosine": near, "agrees": agrees}
            lines.append(line | {"vector": own, "source_vector": other})
        return lines

    def figures(self) -> Figures:
        """Return the figures, and the source's on the same images; none where there are no pairs of both kinds."""
        labels = np.array(self._labels, np.int64)
        source: dict[str, Score] | None = None if self._theirs is None else {}
        asked = Asked.of(labels, self._seed)
        if asked is None:
            found = f"{len(labels)} images of {len(set(self._labels))} identities: without pairs of one identity and "
            return Figures({}, source, self._flips, [found + "of two no figure is defined"])
        mine = Side.of(self._mine.whole(), asked)
        rank1, precision = chance(labels, asked.queries)
        guess = {"verification_accuracy": 50.0, "rank1": 100.0 * rank1, "retrieval_mAP": 100.0 * precision}
        figures = Figures(mine.scores(), source, self._flips, self._notes(asked), guess)
        if self._theirs is not None and len(self._theirs.whole()) == len(labels):
            theirs = Side.of(self._theirs.whole(), asked)
            figures.source = theirs.scores()
            figures.paired = {"rank1": Paired.of(theirs.first, mine.first)}
            figures.resampled = VectorFigures(asked, mine, theirs)
            if not asked.by_identity:
                told = f"images are resampled, since {asked.identities} identities are fewer than {ENOUGH_IDENTITIES}: "
                figures.notes.append(told + "intervals of pairs and searches hold for these identities alone")
        return figures

    def _notes(self, asked: Asked) -> list[str]:
        _, counts = np.unique(asked.labels, return_counts=True)
        notes = []
        if alone := int((counts == 1).sum()):
            notes.append(f"{alone} identities have one image: it is no query, and stays among the others' candidates")
        if len(asked.queries) < (able := len(asked.labels) - alone):
            notes.append(f"{len(asked.queries)} queries of {able}, drawn with seed {self._seed}")
        if asked.drawn is not None:
            counted = f"{asked.drawn[0].shape[1]} pairs of one identity and {asked.drawn[1].shape[1]} of two"
            notes.append(f"verification over {counted}, drawn with seed {self._seed}")
        return notes


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
